"""The published sets of weights: where each keeps its files, on disk and on the hub, what and whose they are.

Hallo, Hallo2 and JoyHallo have the same networks but for one attention; they differ in how they are sampled
and in their speech encoder. This module opens no file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hallo_cli.bundles.bundle_file import SpeechConfig
from hallo_cli.models.network_config import NetworkConfig

HALLO_REPO = "fudan-generative-ai/hallo"
HALLO2_REPO = "fudan-generative-ai/hallo2"
JOYHALLO_REPO = "jdh-algo/JoyHallo-v1"
MANDARIN_REPO = "TencentGameMate/chinese-wav2vec2-base"
OPTIONAL = "vocals"  # only renders that separate the voice need the roles that begin so


@dataclass(frozen=True)
class TreeFile:
    """One file of a published tree."""

    path: str  # inside the tree
    repo: str  # on the hub
    remote: str = ""  # its path there, where it is another one
    elsewhere: tuple[str, ...] = ()  # other places inside trees that were put together by hand

    @property
    def remote_path(self) -> str:
        """Its path in the repository."""
        return self.remote or self.path


@dataclass(frozen=True)
class Tree:
    """One published set of weights."""

    name: str
    licence: str
    description: str
    files: Mapping[str, TreeFile]  # by role
    networks: NetworkConfig = field(default_factory=NetworkConfig.official)
    speech: SpeechConfig = field(default_factory=SpeechConfig)

    @property
    def paths(self) -> dict[str, str]:
        """Where each file lies in the tree, by role."""
        return {role: file.path for role, file in self.files.items()}

    @property
    def repo(self) -> str:
        """The repository of the networks themselves."""
        return self.files["networks"].repo


_BESIDE_NETWORKS = {
    "vae": "sd-vae-ft-mse/diffusion_pytorch_model.safetensors",
    "speech": "wav2vec/wav2vec2-base-960h/model.safetensors",
    "speech_config": "wav2vec/wav2vec2-base-960h/config.json",
    "face_detector": "face_analysis/models/scrfd_10g_bnkps.onnx",
    "identity": "face_analysis/models/glintr100.onnx",
    "vocals": "audio_separator/Kim_Vocal_2.onnx",
    "vocals_checks": "audio_separator/download_checks.json",
    "vocals_mdx_data": "audio_separator/mdx_model_data.json",
    "vocals_vr_data": "audio_separator/vr_model_data.json",
}
_OTHER_TERMS = "sd-vae-ft-mse MIT; {speech}; insightface models for non-commercial research only"
_MADE_FROM = "(made from Stable Diffusion 1.5: CreativeML OpenRAIL-M)"


def _beside(repo: str) -> dict[str, TreeFile]:
    return {role: TreeFile(path, repo) for role, path in _BESIDE_NETWORKS.items()}


OFFICIAL = Tree(
    name="official",
    licence=f"Hallo weights MIT {_MADE_FROM}; {_OTHER_TERMS.format(speech='wav2vec2-base-960h Apache-2.0')}",
    description="the published weights, as published",
    files={"networks": TreeFile("hallo/net.pth", HALLO_REPO), **_beside(HALLO_REPO)},
)
HALLO2 = Tree(
    name="hallo2",
    licence=f"Hallo2 weights MIT {_MADE_FROM}; {_OTHER_TERMS.format(speech='wav2vec2-base-960h Apache-2.0')}",
    description="Hallo2: Hallo's networks trained on for long recordings",
    files={"networks": TreeFile("hallo2/net.pth", HALLO2_REPO), **_beside(HALLO2_REPO)},
    networks=dataclasses.replace(NetworkConfig.official(), motion_thinning=0.25),
    speech=SpeechConfig(piece_s=60.0),
)
JOYHALLO = Tree(
    name="joyhallo",
    licence=(
        f"JoyHallo weights: see {JOYHALLO_REPO} {_MADE_FROM}; "
        f"{_OTHER_TERMS.format(speech='chinese-wav2vec2-base MIT')}"
    ),
    description="JoyHallo: Hallo for Mandarin, one audio attention for all three regions",
    files={
        **_beside(HALLO_REPO),
        "networks": TreeFile("joyhallo/net.pth", JOYHALLO_REPO, "net.pth", ("net.pth",)),
        "speech": TreeFile(
            "chinese-wav2vec2-base/pytorch_model.bin",
            MANDARIN_REPO,
            "pytorch_model.bin",
            ("wav2vec/chinese-wav2vec2-base/pytorch_model.bin",),
        ),
        "speech_config": TreeFile(
            "chinese-wav2vec2-base/config.json",
            MANDARIN_REPO,
            "config.json",
            ("wav2vec/chinese-wav2vec2-base/config.json",),
        ),
    },
    networks=dataclasses.replace(NetworkConfig.official(), shared_audio_attention=True),
)
TREES = {tree.name: tree for tree in (OFFICIAL, HALLO2, JOYHALLO)}

# What the published trainings start from; renders need neither.
TRAINING_FILES = {
    "Stable Diffusion 1.5's UNet": TreeFile(
        "stable-diffusion-v1-5/unet/diffusion_pytorch_model.safetensors", HALLO_REPO
    ),
    "AnimateDiff's motion module": TreeFile("motion_module/mm_sd_v15_v2.ckpt", HALLO_REPO),
}


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
