"""Certificates as people make them: an authority of one's own, and what it vouches for."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    """Files: `ca` for clients, `cert` and `key` for the daemon."""

    ca: Path
    cert: Path
    key: Path


def make(directory: Path, *names: str, not_after: datetime | None = None) -> Certificates:
    """For these names and addresses."""
    directory.mkdir(exist_ok=True)
    files = Certificates(directory / "ca.pem", directory / "cert.pem", directory / "key.pem")
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    issued = authority.issue_cert(
        *(names or ("localhost", "127.0.0.1")), key_type=trustme.KeyType.ECDSA, not_after=not_after
    )
    authority.cert_pem.write_to_path(files.ca)
    for blob in issued.cert_chain_pems:
        blob.write_to_path(files.cert, append=True)
    files.key.touch(0o600)
    issued.private_key_pem.write_to_path(files.key)
    return files
