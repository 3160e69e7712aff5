"""Physics checks: properties that real images of a modality have, measured in synthetic ones.

The list below is the whole plug-in system; ``tests/conformance/test_checks.py`` holds for every entry.
"""

from sciimg.validation.physics.air_quality import AirQuality
from sciimg.validation.physics.bias_field import BiasField
from sciimg.validation.physics.bleed_through import BleedThrough
from sciimg.validation.physics.check import Check, Control
from sciimg.validation.physics.contrast_order import ContrastOrder
from sciimg.validation.physics.detector_range import DetectorRange
from sciimg.validation.physics.dose_linearity import DoseLinearity
from sciimg.validation.physics.effect import Calibration, RealImages, calibrate, curves, effect, measured_synthetic, obstacle_between
from sciimg.validation.physics.ghosting import Ghosting
from sciimg.validation.physics.grey_level_comb import GreyLevelComb
from sciimg.validation.physics.image_quality import ImageQuality
from sciimg.validation.physics.intensity_law import IntensityLaw
from sciimg.validation.physics.k_space_slope import KSpaceSlope
from sciimg.validation.physics.noise_law import NoiseLaw
from sciimg.validation.physics.noise_whiteness import NoiseWhiteness
from sciimg.validation.physics.object_morphology import ObjectMorphology
from sciimg.validation.physics.optical_cutoff import OpticalCutoff
from sciimg.validation.physics.outliers import outliers
from sciimg.validation.physics.photon_transfer import PhotonTransfer
from sciimg.validation.physics.point_pattern import PointPattern
from sciimg.validation.physics.power_spectrum import PowerSpectrum
from sciimg.validation.physics.resolution import Resolution
from sciimg.validation.physics.rician_noise import RicianNoise
from sciimg.validation.physics.ringing import Ringing
from sciimg.validation.physics.snr import AirSnr, TissueSnr
from sciimg.validation.physics.symmetry import Symmetry
from sciimg.validation.physics.tissue_volumes import TissueVolumes

CHECKS: dict[str, Check] = {
    check.name: check
    for check in (
        IntensityLaw(),
        NoiseLaw(),
        PowerSpectrum(),
        ObjectMorphology(),
        PointPattern(),
        Resolution(),
        DetectorRange(),
        GreyLevelComb(),
        BleedThrough(),
        PhotonTransfer(),
        NoiseWhiteness(),
        OpticalCutoff(),
        DoseLinearity(),
        AirSnr(),
        TissueSnr(),
        ContrastOrder(),
        TissueVolumes(),
        ImageQuality(),
        AirQuality(),
        RicianNoise(),
        BiasField(),
        Ghosting(),
        KSpaceSlope(),
        Ringing(),
        Symmetry(),
    )
}

__all__ = [
    "CHECKS",
    "Calibration",
    "Check",
    "Control",
    "RealImages",
    "calibrate",
    "curves",
    "effect",
    "measured_synthetic",
    "obstacle_between",
    "outliers",
]
