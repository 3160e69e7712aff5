"""Encoders that others have trained: loaded when a recipe names them, from a file or, when the name says so, from a hub.

A source is written ``open_clip:MODEL:WEIGHTS``, ``transformers:NAME_OR_FOLDER``, ``torchvision:MODEL:WEIGHTS`` or ``radimagenet:WEIGHTS``
(a ResNet-50 of torchvision's names). WEIGHTS is a safetensors file; a name that is no path is asked of the library's hub where it has one,
and only then is anything downloaded. Nothing here is imported before it is needed.
"""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sciimg.errors import InputError, Problem

Library = Literal["open_clip", "transformers", "torchvision"]
_EXTRAS: dict[Library, str] = {"open_clip": "clip", "transformers": "transformers", "torchvision": "torchvision"}


def library(name: Library) -> ModuleType:
    """Import an optional library.

    Raises
    ------
    InputError
        Kind ``missing-library``, with the extra that brings it.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        message = f"This encoder needs {name}, which is not installed. Install it: pip install 'sciimg[{_EXTRAS[name]}]'."
        raise InputError(Problem(name, "missing-library", message)) from None


class PretrainedText(nn.Module):
    """A frozen text encoder of open_clip or transformers behind the interface of :class:`TextEncoder`; only a projection is trained.

    Its weights are not part of the model folder: the source is, and must be there again when the model is loaded.

    Parameters
    ----------
    source : str
        ``open_clip:MODEL:WEIGHTS`` or ``transformers:NAME_OR_FOLDER``.
    words : tuple of str
        Of the schema: captions come as numbers of these, and are written out again for the encoder's own tokenizer.
    features : int
        Of each caption in the recipe's networks.
    """

    def __init__(self, source: str, words: tuple[str, ...], features: int) -> None:
        super().__init__()
        self.words, self.features = words, features
        self._encode = _text_encoder(source)  # a function: frozen weights are not this module's
        self._known: dict[str, Tensor] = {}
        self.project = nn.Linear(len(self._of("")), features)
        self.norm = nn.LayerNorm(features)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (N, 1, F) of captions and that they are told (N, 1); ``tokens`` is (N, T)."""
        captions = [" ".join(self.words[number - 1] for number in row if number) for row in tokens.tolist()]
        found = torch.stack([self._of(caption) for caption in captions]).to(tokens.device)
        return self.norm(self.project(found))[:, None], torch.ones(len(tokens), 1, dtype=torch.bool, device=tokens.device)

    def _of(self, caption: str) -> Tensor:
        """Return a caption's unit vector, each computed alone and once, so that it does not depend on its company."""
        if caption not in self._known:
            with torch.no_grad(), torch.autocast("cpu", enabled=False):
                self._known[caption] = F.normalize(self._encode(caption).float(), dim=0)
        return self._known[caption]


def _text_encoder(source: str) -> Any:
    kind, _, rest = source.partition(":")
    match kind:
        case "open_clip":
            name, _, weights = rest.partition(":")
            clip = library("open_clip")
            model = clip.create_model(name, pretrained=None if Path(weights).is_file() else weights or None).eval()
            if Path(weights).is_file():
                load_weights(model, Path(weights))
            tokenizer = clip.get_tokenizer(name)
            return lambda caption: model.encode_text(tokenizer([caption]))[0]
        case "transformers":
            hub = library("transformers")
            offline = Path(rest).exists()
            tokenizer = hub.AutoTokenizer.from_pretrained(rest, local_files_only=offline)
            model = hub.AutoModel.from_pretrained(rest, local_files_only=offline, use_safetensors=True).eval()
            model = getattr(model, "text_model", model)
            return lambda caption: model(**tokenizer(caption, return_tensors="pt")).last_hidden_state[0].mean(0)
        case _:
            message = f"A text encoder is open_clip:MODEL:WEIGHTS or transformers:NAME_OR_FOLDER; got {source!r}."
            raise InputError(Problem("pretrained", "bad-source", message))


class PretrainedImages(nn.Module):
    """A frozen network of torchvision's kind as image encoder: features (N, 1, F) of images with any channels.

    Parameters
    ----------
    source : str
        ``torchvision:MODEL:WEIGHTS`` or ``radimagenet:WEIGHTS``; WEIGHTS is a safetensors file.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        kind, _, rest = source.partition(":")
        name, _, weights = ("resnet50", "", rest) if kind == "radimagenet" else rest.partition(":")
        if kind not in ("torchvision", "radimagenet") or not weights:
            message = f"An image encoder is torchvision:MODEL:WEIGHTS or radimagenet:WEIGHTS; got {source!r}."
            raise InputError(Problem("pretrained", "bad-source", message))
        model = library("torchvision").models.get_model(name, weights=None)
        head = [part for part, _ in model.named_children()][-1]
        setattr(model, head, nn.Identity())  # the class scores of another task
        load_weights(model, Path(weights), without=head)
        self._model = (model.eval(),)  # in a tuple: frozen weights are not this module's
        with torch.no_grad():
            self.features = int(model(torch.zeros(1, 3, 64, 64)).shape[1])

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Return features; each channel of images (N, C, Y, X) is looked at as a grey image, and the mean is taken."""
        found = [self._model[0](images[:, [c]].expand(-1, 3, -1, -1)) for c in range(images.shape[1])]
        return torch.stack(found).mean(0)[:, None]


def load_weights(model: nn.Module, path: Path, without: str | None = None) -> None:
    """Load a safetensors file into a model; parameters below ``without`` may be there and are left out.

    Raises
    ------
    InputError
        Kinds ``no-file``, ``damaged``, ``other-model``.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        message = "Weights are a safetensors file on this machine; there is none here. Download it yourself and give its path."
        raise InputError(Problem(str(path), "no-file", message))
    try:
        state = load_file(path)
    except (SafetensorError, OSError):
        message = "The weights cannot be read as safetensors; pickles are never opened. Convert them with safetensors.torch.save_file."
        raise InputError(Problem(str(path), "damaged", message)) from None
    state = {name: value for name, value in state.items() if without is None or not name.startswith(f"{without}.")}
    expected = {name: value.shape for name, value in model.state_dict().items()}
    wrong = sorted(name for name in {*expected, *state} if name not in state or expected.get(name) != state[name].shape)
    if wrong:
        message = f"The weights are of another model: {len(wrong)} of {len(expected)} tensors differ, first {wrong[0]}. Name their model."
        raise InputError(Problem(str(path), "other-model", message))
    model.load_state_dict(state)
