"""Certificate files as users have them: a key, the signer's certificate and a root."""

import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KEYS: dict[str, Any] = {
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
}


def make_certificate(file: Path, *, kind: str = "p256", days: int = 30, is_for_signing: bool = True) -> Path:
    """Write a PEM file for "Example Films", valid until so many days from now."""
    key, root_key = KEYS[kind](), KEYS["p256"]()
    signer = certificate("Example Films", "Example Root", key, days)
    if is_for_signing:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        signer = (
            signer.add_extension(purpose, critical=False)
            .add_extension(usage, critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        )
        signer = signer.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False
        )
    root = certificate("Example Root", "Example Root", root_key, 60).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pems = [
        made.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        for made in (signer, root)
    ]
    file.write_bytes(private + b"".join(pems))
    return file


def certificate(subject: str, issuer: str, key: Any, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in (subject, issuer)]
    return x509.CertificateBuilder(
        subject_name=names[0],
        issuer_name=names[1],
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - datetime.timedelta(days=30),
        not_valid_after=now + datetime.timedelta(days=days),
    ).add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
