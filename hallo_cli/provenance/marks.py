"""Puts a signed C2PA manifest into a finished video, or beside it, and reads one back.

The manifest says that a trained model made the frames, and names tool, weights and digests of the inputs. It
contains no path, and no name but the certificate's and, if asked, those of the people who consented. Frames
and sound stay the same, byte for byte.
"""

from __future__ import annotations

import base64
import io
import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import c2pa

from hallo_cli import __version__
from hallo_cli.errors import InputError, OutputError, SettingsError, first_line, printable
from hallo_cli.provenance.certificates import Identity
from hallo_cli.provenance.consent_file import Consent
from hallo_cli.store.writing import PartFile, reporting_write_errors

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
LABEL = "hallo.render"
CONSENT_LABEL = "hallo.consent"
PNG = "image/png"
WEBM = "video/webm"
KINDS = {".mp4": "video/mp4", ".mov": "video/quicktime", ".webm": WEBM}  # by ending
MAX_BESIDE = 16 << 20  # bytes of a mark beside its video
OFFLINE = {"remote_manifest_fetch": False, "ocsp_fetch": False}
UNTRUSTED = "signingCredential.untrusted"
_TRUSTED = {"signingCredential.trusted", "claimSignature.validated"}
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@dataclass(frozen=True)
class Claim:
    """The ingredients of a video: digests, and the consents that it was made with."""

    fingerprint: str  # of inputs, weights and settings
    portrait: str  # SHA-256 of the picture file
    audio: str  # SHA-256 of the recording's file
    weights: str  # id of the weights
    consents: tuple[Consent, ...] = ()


@dataclass(frozen=True)
class Mark:
    """The content of a video's manifest, and whether it is valid."""

    is_whole: bool  # nothing was changed since it was signed
    is_trusted: bool  # the signer, that is: also of changed content
    is_ai: bool  # it says that a trained model made the pictures
    signer: str
    signed_with: str  # the tool
    claim: Claim | None  # None: not made by this program
    problems: tuple[str, ...]  # C2PA's codes


@cache
def require_usable(identity: Identity) -> None:
    """Sign a test picture. Raises SettingsError if C2PA does not accept the certificate."""
    try:
        _sign(io.BytesIO(PIXEL), io.BytesIO(), PNG, identity=identity, claim=None)
    except c2pa.C2paError as error:
        raise SettingsError(
            f"the certificate of {identity.name!r} cannot sign videos ({first_line(error)}). C2PA wants one "
            "that is valid now, not self-signed, with key usage digitalSignature and extended key usage "
            "emailProtection or documentSigning. Give another --certificate, or --no-provenance."
        ) from error


def sign_video(video: Path, claim: Claim, identity: Identity) -> bytes:
    """Put the mark into a finished video; a WebM holds none, so its mark is returned, to be kept beside it.

    Raises OutputError; the video is then unchanged.
    """
    kind = _kind_of(video)
    is_beside = kind == WEBM
    with reporting_write_errors(video), video.open("rb") as source, PartFile(video) as part:
        try:
            mark = _sign(source, part.file, kind, identity=identity, claim=claim, is_beside=is_beside)
        except c2pa.C2paError as error:
            raise OutputError(
                f"the video cannot be signed ({first_line(error)}). Add --no-provenance to skip this."
            ) from error
        if is_beside:
            return mark
        part.commit()
    return b""


def read_mark(video: Path, anchors: bytes = b"", beside: Path | None = None) -> Mark | None:
    """The mark of a video, None if it has none. Raises InputError if the file cannot be read.

    `anchors`: trusted certificates, as PEM; `beside`: the file of a mark that is not in the video.
    """
    if beside is not None and not beside.exists():
        return None
    settings: dict[str, dict[str, object]] = {"verify": {"verify_trust": True, **OFFLINE}}
    if anchors:
        settings["trust"] = {"trust_anchors": anchors.decode("ascii", "replace")}
    try:
        with (
            video.open("rb") as file,
            c2pa.Context.from_dict(settings) as context,
            c2pa.Reader(_kind_of(video), file, _read_beside(beside), context=context) as reader,
        ):
            return _mark(json.loads(reader.json()), reader.get_validation_state() or "")
    except c2pa.C2paError.ManifestNotFound:
        return None
    except (c2pa.C2paError, OSError, ValueError) as error:
        raise InputError(f"the mark of {str(video)!r} cannot be read ({first_line(error)}).") from error


def _read_beside(file: Path | None) -> bytes | None:
    """The content of a mark's own file. Raises OSError, ValueError."""
    if file is None:
        return None
    with file.open("rb") as mark:
        content = mark.read(MAX_BESIDE + 1)
    if len(content) > MAX_BESIDE:
        raise ValueError(f"{file.name} is too large for a mark")
    return content


def _mark(values: dict[str, Any], state: str) -> Mark:
    manifest = values["manifests"][values["active_manifest"]]
    data = {entry["label"]: entry["data"] for entry in manifest.get("assertions", [])}
    codes = [str(status.get("code")) for status in values.get("validation_status", [])]
    kinds = [
        action.get("digitalSourceType")
        for label, content in data.items()
        if label.startswith("c2pa.actions")
        for action in content.get("actions", [])
    ]
    tool = (manifest.get("claim_generator_info") or [{}])[0]
    signature = manifest.get("signature_info") or {}
    return Mark(
        is_whole=state in ("Valid", "Trusted"),
        is_trusted=_successes(values) >= _TRUSTED,
        is_ai=SOURCE_TYPE in kinds,
        signer=_clean(signature.get("common_name") or signature.get("issuer") or "nobody"),
        signed_with=_clean(f"{tool.get('name', 'an unknown tool')} {tool.get('version', '')}".strip()),
        claim=_claim(data.get(LABEL), data.get(CONSENT_LABEL)),
        problems=tuple(code for code in codes if code != UNTRUSTED),
    )


def _successes(values: dict[str, Any]) -> set[str]:
    """The codes of the checks that the mark passed."""
    results = values.get("validation_results") or {}
    return {str(found.get("code")) for found in (results.get("activeManifest") or {}).get("success", [])}


def _claim(data: object, consent: object) -> Claim | None:
    names = Claim.__dataclass_fields__.keys() - {"consents"}
    if not isinstance(data, dict) or not names <= data.keys():
        return None
    given = consent.get("given") if isinstance(consent, dict) else None
    consents = tuple(map(_consent, given)) if isinstance(given, list) else ()
    return Claim(**{name: _clean(data[name]) for name in names}, consents=consents)


def _consent(data: object) -> Consent:
    found = data if isinstance(data, dict) else {}
    return Consent(**{name: _clean(found.get(name, "")) for name in Consent.__dataclass_fields__})


def _clean(text: object) -> str:
    """Text from an untrusted file, safe to print."""
    return printable(str(text)[:200])


def _sign(
    source: Any,
    target: Any,
    kind: str,
    *,
    identity: Identity,
    claim: Claim | None,
    is_beside: bool = False,
) -> bytes:
    """Copy the source to the target with its mark inside, or without; returns the mark."""
    algorithm = c2pa.C2paSigningAlg[identity.algorithm]
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(algorithm, identity.chain, identity.key, None))
    settings = {"verify": {"verify_trust": False, **OFFLINE}, "builder": {"thumbnail": {"enabled": False}}}
    with (
        c2pa.Context.from_dict(settings, signer=signer) as context,
        c2pa.Builder(_manifest(kind, claim), context=context) as builder,
    ):
        if is_beside:
            builder.set_no_embed()
        return bytes(builder.sign(kind, source, target))


def _manifest(kind: str, claim: Claim | None) -> dict[str, Any]:
    tool = {"name": "Hallo CLI", "version": __version__}
    created = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE, "softwareAgent": tool}
    assertions: list[dict[str, Any]] = [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}]
    if claim is not None:
        values = asdict(claim)
        given = [{key: text for key, text in consent.items() if text} for consent in values.pop("consents")]
        assertions.append({"label": LABEL, "data": values})
        if given:
            assertions.append({"label": CONSENT_LABEL, "data": {"given": given}})
    return {"claim_generator_info": [tool], "format": kind, "assertions": assertions}


def _kind_of(video: Path) -> str:
    return KINDS.get(video.suffix.lower(), KINDS[".mp4"])
