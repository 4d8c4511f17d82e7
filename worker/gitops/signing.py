"""Signs commits with a private key of the operator's, of OpenSSH or of GnuPG."""

from __future__ import annotations

from dataclasses import dataclass

from builder.errors import GitRefusedError
from builder.source.gitcommand import Git

_PGP = "-----BEGIN PGP PRIVATE KEY BLOCK-----"
_WRONG = (
    "The signing key can't be used ({}): its operator gives one without a passphrase, of ssh-keygen"
    " or gpg."
)


@dataclass(frozen=True, slots=True)
class Signer:
    """What git is told so that it signs; nothing without a key."""

    settings: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def signer(git: Git, key: str | None) -> Signer:
    """What signs with this key, which lies in git's home while that is there.

    Raises GitRefusedError for what is no key.
    """
    if key is None:
        return Signer()
    text = key.strip() + "\n"
    path = git.home / "signing"
    path.touch(mode=0o600)
    path.write_text(text)
    if not text.startswith(_PGP):
        if "PRIVATE KEY" not in text:
            raise GitRefusedError(_WRONG.format("it is no private key"))
        settings = ("-c", "gpg.format=ssh", "-c", f"user.signingKey={path}")
        return Signer(settings, ("-S",))
    ran = git.run("gpg", "--batch", "--quiet", "--import", str(path))
    listed = git.run("gpg", "--batch", "--with-colons", "--list-secret-keys").out.decode()
    prints = [line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:")]
    if ran.status or not prints:
        raise GitRefusedError(_WRONG.format("gpg does not take it"))
    return Signer(("-c", "gpg.format=openpgp", "-c", f"user.signingKey={prints[0]}"), ("-S",))


def end(git: Git, key: str | None) -> None:
    """Stop what gpg left running."""
    if key is not None and key.strip().startswith(_PGP):
        git.run("gpgconf", "--kill", "all")
