"""Which file names of an outside source may be written below a folder."""

from __future__ import annotations

from builder.errors import InvalidSpecError, TooLargeError

MAX_NAME_BYTES = 1024
MAX_PART_BYTES = 255


def parts_of(name: str) -> tuple[str, ...]:
    """The parts of a relative name, `.` left out; empty for the folder itself.

    Raises InvalidSpecError for a name that is absolute, climbs with `..`, or that no file system or
    version-control tool should be handed: control characters, backslashes, `.git`.
    """
    if len(name.encode(errors="surrogatepass")) > MAX_NAME_BYTES:
        raise InvalidSpecError(f"The file name {name[:60]!r}… is too long; shorten it.")
    text = shown(name)
    if name.startswith("/"):
        raise InvalidSpecError(f"The file name '{text}' is absolute; make it relative.", file=text)
    if "\\" in name or not name.isprintable():
        raise InvalidSpecError(
            f"The file name '{text}' has a backslash or control character in it; rename it.",
            file=text,
        )
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts:
        raise InvalidSpecError(
            f"The file name '{text}' leaves the folder with '..'; name files inside it only.",
            file=text,
        )
    for part in parts:
        if part.lower() == ".git":
            raise InvalidSpecError(
                f"The file name '{text}' goes into a .git folder; leave version-control data out.",
                file=text,
            )
        if len(part.encode(errors="surrogatepass")) > MAX_PART_BYTES:
            raise InvalidSpecError(f"The file name '{text[:60]}…' is too long; shorten it.")
    return parts


def shown(text: str) -> str:
    """`text` as it may stand in a message: nothing in it moves a cursor or hides a letter."""
    return text if text.isprintable() else ascii(text)[1:-1]


class Meter:
    """Counts files and bytes against their limits."""

    def __init__(self, what: str, max_files: int, max_bytes: int) -> None:
        self.what = what
        self.max_files = max_files
        self.max_bytes = max_bytes
        self.files = 0
        self.bytes = 0

    def file(self) -> None:
        """One more file, folder or link; raises TooLargeError over the limit."""
        self.files += 1
        if self.files > self.max_files:
            raise TooLargeError(
                f"The {self.what} holds more than {self.max_files:,} files; leave out what the "
                "environment does not need."
            )

    def add(self, size_bytes: int) -> None:
        """That many more bytes; raises TooLargeError over the limit."""
        self.bytes += size_bytes
        if self.bytes > self.max_bytes:
            raise TooLargeError(
                f"The {self.what} is larger than {human(self.max_bytes)}; leave out data that the "
                "environment does not need."
            )


def human(size_bytes: int) -> str:
    """A size for people, such as 1 GiB."""
    size = float(size_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{size:.3g} {unit}"
