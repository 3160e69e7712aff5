"""Names of channels out of headers: those of stains, dyes, markers, contrasts and wavelengths stay, any other text may name a person.

A name of a channel is free text that somebody typed at a microscope. Kept is what consists of words of the field, of markers such as CD45
or Ki67, and of numbers too short to be of a patient or a day; everything else is numbered. What a study itself names is kept as well.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

from sciimg.types import Channel

CHANNEL_NAME = "name of a channel"  # as the catalogue counts what is left behind
_LONGEST_NUMBER = 4  # digits: wavelengths and counters; longer ones are days and patients
_SHORTEST_WORD = 3  # shorter ones name nobody
_DAY = re.compile(r"\d+\s*[-./:_ ]\s*\d{1,2}\s*[-./:_ ]\s*\d+")
_WORDS = re.compile(r"[^\W\d_]+|\d+")
_MARKER = re.compile(
    r"\b(?:CD|IL|p|H|HLA|Ki|GFAP|Iba|Sox|Oct|Pax|MAP|PSD|Cx|Col|TRPV|Tuj|Nkx|Tbr|Lgr|FoxP|Hif|Bcl|CK|EpCAM|PECAM|VCAM|ICAM)-?\d{1,3}\w?\b"
)
_KNOWN = frozenset(
    """
    dapi hoechst draq sytox sybr picogreen propidium iodide acridine orange toto yoyo nissl
    gfp egfp sfgfp yfp eyfp cfp ecfp bfp ebfp rfp mrfp mcherry mscarlet mkate mneongreen mvenus mturquoise tdtomato dsred venus citrine
    cerulean emerald turquoise tomato cherry crimson katushka irfp halo halotag snap snaptag clip
    fitc tritc cyanine alexa fluor atto dylight texas rhodamine bodipy abberior star silicon sir janelia fluorescein aniline eosin
    mitotracker lysotracker ertracker celltracker celltrace phalloidin wga cona lectin dil did dio nile blue calcein fura fluo gcamp jrgeco
    rcamp indo aequorin
    haematoxylin hematoxylin dab pas trichrome masson picrosirius sirius giemsa safranin alizarin gram toluidine luxol fast silver residual
    nuclei nucleus nuclear cell cells cytoplasm membrane actin tubulin vimentin keratin cytokeratin desmin lamin histone golgi lysosome
    mitochondria mitochondrion mito endoplasmic reticulum peroxisome nucleolus chromatin dna rna mrna protein collagen fibronectin laminin
    elastin synapsin neun gfap iba olig mbp neurofilament insulin glucagon somatostatin cadherin catenin integrin caspase
    brightfield bright field darkfield dark phase contrast dic nomarski transmitted transmission reflected reflection polarised polarized
    fluorescence fluorescent autofluorescence luminescence confocal widefield lightsheet spinning disk sted sim tirf palm storm shg thg cars
    raman flim fret second third harmonic backscatter bse electron
    channel chan detector pmt hyd apd tpmt camera cam laser line track image pixel intensity grey gray red green blue cyan magenta yellow
    white black violet purple pink far near infrared nir ultraviolet visible rgb luminance lightness alpha hue saturation value signal
    background reference corrected raw processed filtered average mean sum max projection ratio merged merge overlay mask label labels
    segmentation object objects probability foreground
    flair dwi adc swi bold dce dsc asl pet spect mprage spgr tse tof stir haste epi space vibe magnitude imaginary real phase echo diffusion
    perfusion weighted density tissue matter csf fat water map trace isotropic contrast enhanced post pre native in opp out
    excitation emission wavelength filter long short pass band the and for with not low high left right top bottom first last
    """.split()  # noqa: SIM905
)


def plain_channels(channels: Sequence[Channel], known: Collection[str] = ()) -> tuple[tuple[Channel, ...], int]:
    """Return channels without names that may be of persons, and how many names were left out.

    Parameters
    ----------
    channels : sequence of Channel
        As a file calls them.
    known : collection of str
        Names that are kept whatever they are: a study speaks of them.
    """
    out = tuple(c if c.name in known or is_plain(c.name) else replace(c, name=f"channel-{i}") for i, c in enumerate(channels))
    taken = [c.name for c in out]
    if len(set(taken)) < len(taken):  # a number that another channel has for its name
        out = tuple(
            c if c is before else replace(c, name=f"channel-{i}-unnamed") for i, (c, before) in enumerate(zip(out, channels, strict=True))
        )
    return out, sum(c is not before for c, before in zip(out, channels, strict=True))


def is_plain(name: str) -> bool:
    """Whether a name consists of words of the field, markers, and short words and numbers that are no day."""
    if _DAY.search(name):
        return False
    words = _WORDS.findall(_MARKER.sub(" ", name))
    return all(len(w) <= _LONGEST_NUMBER if w.isdigit() else len(w) < _SHORTEST_WORD or w.lower() in _KNOWN for w in words)
