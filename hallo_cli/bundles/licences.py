"""The licence terms of the parts of the published weights. Opens no file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hallo_cli.bundles.trees import JOYHALLO_REPO


@dataclass(frozen=True)
class Licence:
    """The terms of use of a part of the published weights."""

    part: str
    files: tuple[str, ...]  # path prefixes inside the tree
    terms: str
    is_commercial_use_allowed: bool


_STABLE_DIFFUSION = "made from Stable Diffusion 1.5, whose CreativeML OpenRAIL-M use restrictions stay"
LICENCES = (
    Licence("Hallo networks (Fudan University)", ("hallo/",), f"MIT; {_STABLE_DIFFUSION}", True),
    Licence("Hallo2 networks (Fudan University)", ("hallo2/",), f"MIT; {_STABLE_DIFFUSION}", True),
    Licence(
        "JoyHallo networks (JD Health)",
        ("joyhallo/",),
        f"not known to this program: read them at huggingface.co/{JOYHALLO_REPO}; {_STABLE_DIFFUSION}",
        True,
    ),
    Licence("sd-vae-ft-mse (Stability AI)", ("sd-vae-ft-mse/",), "MIT", True),
    Licence("wav2vec2-base-960h (Meta)", ("wav2vec/",), "Apache-2.0", True),
    Licence("chinese-wav2vec2-base (Tencent)", ("chinese-wav2vec2-base/",), "MIT", True),
    Licence(
        "InsightFace detector and recogniser (scrfd_10g_bnkps, glintr100)",
        ("face_analysis/",),
        "non-commercial research only; for anything else ask InsightFace for a licence",
        False,
    ),
    Licence(
        "Kim_Vocal_2 (Ultimate Vocal Remover)",
        ("audio_separator/",),
        "no licence is stated with the file; the project asks for credit",
        True,
    ),
    Licence(
        "Stable Diffusion 1.5 UNet (RunwayML)",
        ("stable-diffusion-v1-5/",),
        "CreativeML OpenRAIL-M: its use restrictions stay with everything that is trained from it",
        True,
    ),
    Licence("AnimateDiff motion module (Guo et al.)", ("motion_module/",), "Apache-2.0", True),
)


def licences(paths: Iterable[str]) -> list[Licence]:
    """On what terms these files of a tree may be used."""
    known = tuple(paths)
    return [terms for terms in LICENCES if any(path.startswith(terms.files) for path in known)]
