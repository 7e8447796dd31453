"""The signer of videos: the user's certificate, or this machine's, which is made on first use.

A certificate file is PEM: the private key, the signer's certificate, and its chain of issuers.
"""

from __future__ import annotations

import datetime
import logging
import secrets
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hallo_cli.errors import SettingsError
from hallo_cli.store.cache import config_path
from hallo_cli.store.reading import read_small
from hallo_cli.store.writing import write_secret

LASTS = datetime.timedelta(days=3650)
ORGANISATION = "Hallo CLI (self-signed)"
CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
WANTED = "a PEM file with an unencrypted private key and its certificates"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Identity:
    """A signer."""

    chain: bytes  # certificates as PEM, the signer's first
    key: bytes  # private key as PEM
    algorithm: str  # C2PA's name: ES256, PS256, ED25519 ...
    name: str  # of the signer
    digest: str  # SHA-256 of the signer's certificate

    @property
    def anchor(self) -> bytes:
        """The root certificate of the chain, as PEM."""
        return _pem(x509.load_pem_x509_certificates(self.chain)[-1])


def own_file() -> Path | None:
    """Where this machine's certificate is kept: in the user's folder of configuration, if there is one."""
    return config_path("signing.pem")


def own_identity() -> Identity:
    """This machine's signer, made and kept on first use. Raises SettingsError if its file is broken.

    If it cannot be kept, it is used for this process only, with a warning.
    """
    file = own_file()
    if file is None:
        return _unkept_identity(": there is no home folder")
    try:
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            write_secret(file, _made())
    except FileExistsError:  # another process wrote it first
        pass
    except OSError as error:
        return _unkept_identity(f" in {file} ({error.strerror or error})")
    return read_identity(file)


@cache
def _unkept_identity(reason: str) -> Identity:
    logger.warning("the signing certificate cannot be kept%s", reason)
    return _identity(_made(), Path("signing.pem"))


def read_identity(file: Path) -> Identity:
    """The signer of a PEM file. Raises SettingsError."""
    try:
        return _identity(read_small(file), file)
    except (OSError, ValueError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(
            f"the certificate {str(file)!r} cannot be used ({reason}). Give {WANTED}, or --no-provenance."
        ) from error


def read_anchors(file: Path) -> bytes:
    """The trusted certificates in a PEM file. Raises SettingsError."""
    try:
        return b"".join(map(_pem, x509.load_pem_x509_certificates(read_small(file))))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(
            f"the certificates {str(file)!r} cannot be read ({reason}). Give a PEM file."
        ) from error


def _identity(pem: bytes, file: Path) -> Identity:
    if b"PRIVATE KEY-----" not in pem:
        raise ValueError("it holds no private key in PEM")
    if b"BEGIN CERTIFICATE-----" not in pem:
        raise ValueError("it holds no certificate in PEM")
    key = serialization.load_pem_private_key(pem, password=None)
    chain = x509.load_pem_x509_certificates(pem)
    signer = chain[0]
    if key.public_key() != signer.public_key():
        raise ValueError("its first certificate does not belong to its key")
    if signer.not_valid_after_utc < datetime.datetime.now(datetime.UTC):
        raise ValueError(f"it expired on {signer.not_valid_after_utc:%Y-%m-%d}")
    names = signer.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Identity(
        chain=b"".join(map(_pem, chain)),
        key=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        algorithm=_algorithm(key),
        name=str(names[0].value) if names else file.stem,
        digest=signer.fingerprint(hashes.SHA256()).hex(),
    )


def _algorithm(key: object) -> str:
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in CURVES:
        return CURVES[key.curve.name]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ED25519"
    if isinstance(key, rsa.RSAPrivateKey):
        return "PS256"
    raise ValueError("its key is of a kind that C2PA does not know; use P-256, P-384, P-521, Ed25519 or RSA")


def _made() -> bytes:
    """A new signer as PEM, with a new issuer whose key is discarded at once."""
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    number = secrets.token_hex(4)
    root_name, name = _name(f"root {number}"), _name(f"signer {number}")
    root = (
        _certificate(root_name, root_name, root_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    signer = (
        _certificate(name, root_name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False
        )
        .sign(root_key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + _pem(signer) + _pem(root)


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - datetime.timedelta(days=1),  # clocks differ
        not_valid_after=now + LASTS,
    ).add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
