"""A layer, unpacked, is what `uv pip install` leaves: names, bytes, modes and bytecode."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from rig.wheels import WheelFactory

EVERY_SCHEME: dict[str, str | bytes] = {
    "purelib/pure_part/__init__.py": "A = 1\n",
    "platlib/plat_part/__init__.py": "B = {'x', 'y', 'z'}\n",
    "scripts/run-me": "#!python\nprint('ran')\n",
    "scripts/run-window": "#!pythonw -u\nprint('ran')\n",
    "scripts/shell-one": "#!/bin/sh\necho ran\n",
    "scripts/binary-one": b"\x7fELF\x00\x01\x02" + bytes(range(256)),
    "scripts/module.py": "#!python\nimport sys\n",
    "headers/x.h": "#define X 1\n",
    "headers/deep/y.h": "#define Y 1\n",
    "data/share/doc/readme.txt": "read me\n",
    "data/etc/some.conf": "a=b\n",
    "data/lib/python9.9/not-site-packages.py": "C = 1\n",
    "data/bin/from-data": "#!/bin/sh\n",
}


def record(name: str, files: Iterable[str]) -> str:
    """A RECORD as the csv module writes it; the factory's own knows no names with commas."""
    info = f"{name}-1.0.dist-info"
    out = io.StringIO()
    rows = [[path, "", ""] for path in (*files, f"{info}/METADATA", f"{info}/WHEEL")]
    csv.writer(out, lineterminator="\n").writerows([*rows, [f"{info}/RECORD", "", ""]])
    return out.getvalue()


ODD_NAMES = [
    "quoting/__init__.py",
    "quoting/a, b.txt",
    'quoting/say "hi".txt',
    "quoting/it's.txt",
    "quoting/#hash;semi.txt",
    "quoting/ space .txt",
    "quoting-1.0.data/data/share/a, b.txt",
    "quoting-1.0.data/scripts/c, d",
]


def cases() -> dict[str, dict[str, Any]]:
    long = "/".join(["a_folder_of_some_length"] * 5)
    very_long = "/".join(["another_folder_of_some_length"] * 11)
    return {
        "plain": {},
        "every-scheme": {"data": EVERY_SCHEME},
        "entry-points": {
            "scripts": {
                "say": "entry_points:main",
                "Say.Mixed-Case_2": "entry_points:main",
                "say-deep": "entry_points.sub.mod:Class.method.deep",
                "say-extra": "entry_points:main [fancy,more]",
                "say-spaced": "entry_points : main",
            },
            "gui_scripts": {"say-window": "entry_points.gui:run", "say-window2": "entry_points:x"},
        },
        "stored": {
            "files": {"stored/__init__.py": "x = 1\n", "stored/data.bin": os.urandom(3000)},
            "stored": {"stored/__init__.py", "stored/data.bin"},
        },
        "streamed": {
            "files": {
                "streamed/__init__.py": "x = 1\n" * 500,
                "streamed/e.py": "",
                "streamed/b": b"",
            },
            "streamed": {"streamed/__init__.py", "streamed/e.py", "streamed/b"},
        },
        "empty": {"files": {"empty/__init__.py": "", "empty/py.typed": "", "empty/data": b""}},
        "executable": {
            "files": {"executable/tool": "#!/bin/sh\n", "executable/lib.so": b"\x7fELF" * 999},
            "executable": {"executable/tool", "executable/lib.so"},
        },
        "executable-record": {"executable": {"executable_record-1.0.dist-info/RECORD"}},
        "non-ascii": {
            "files": {
                "non_ascii/__init__.py": "π = 3\n",
                "non_ascii/größe.py": "x = 'ß'\n",
                "non_ascii/数据/😀.txt": "emoji\n",
            },
        },
        "long-paths": {
            "files": {
                "long_paths/__init__.py": "",
                f"long_paths/{long}/module.py": "x = 1\n",
                f"long_paths/{very_long}/module.py": "x = 1\n",
                f"long_paths/{'n' * 200}.py": "x = 1\n",
            },
        },
        "folders": {
            "files": {"folders/__init__.py": "", "folders/explicit/x.py": "x = 1\n"},
            "raw": {"folders/": b"", "folders/explicit/": b""},
        },
        "quoting": {
            "files": dict.fromkeys(ODD_NAMES, "#!python\n"),
            "record": False,
            "raw": {"quoting-1.0.dist-info/RECORD": record("quoting", ODD_NAMES)},
        },
        "name.space-pkg": {
            "files": {"name/space/pkg/__init__.py": "x = 1\n", "name/other.py": "y = 1\n"},
        },
        "root-modules": {"files": {"root_module.py": "x = 1\n", "_vendor.cpython.so": b"x"}},
        "does-not-compile": {
            "files": {
                "does_not_compile/__init__.py": "x = 1\n",
                "does_not_compile/py2.py": "print 'two'\n",
                "does_not_compile/only_broken/py2.py": "exec 'two'\n",
                "does_not_compile/template.py": "class {{ name }}: pass\n",
                "does_not_compile/nul.py": b"x = 1\0\n",
                "does_not_compile/latin.py": b"# -*- coding: latin-1 -*-\nx = '\xe9'\n",
                "does_not_compile/bad_utf8.py": b"x = '\xe9'\n",
                "does_not_compile/bom.py": b"\xef\xbb\xbfx = 1\n",
                "does_not_compile/crlf.py": b"x = 1\r\ny = 2\r\n",
                "does_not_compile/warns.py": "x = 1 is 1\ny = '\\d'\n",
            },
        },
        "shipped-bytecode": {
            "files": {
                "shipped_bytecode/__init__.py": "x = 1\n",
                "shipped_bytecode/__pycache__/__init__.cpython-311.pyc": b"stale",
                "shipped_bytecode/__pycache__/gone.cpython-38.pyc": b"stale",
            },
        },
        "pip": {
            "files": {"pip/__init__.py": "", "pip/_internal/cli/main.py": "def main(): ...\n"},
            "scripts": {
                "pip": "pip._internal.cli.main:main",
                "pip3": "pip._internal.cli.main:main",
                "pip9.9": "pip._internal.cli.main:main",
                "other": "pip:main",
            },
        },
        "script-twice": {
            "data": {"scripts/twice": "#!python\nprint('script')\n"},
            "scripts": {"twice": "script_twice:main"},
        },
        "data-in-lib64": {"data": {"data/lib64/thing.so": b"x"}},
        "same-file-twice": {
            "files": {"same_file_twice/__init__.py": "x = 'root'\n"},
            "data": {"purelib/same_file_twice/__init__.py": "x = 'data'\n"},
        },
        "explicit-data-folders": {
            "data": {"scripts/go": "#!python\n", "data/share/empty-not.txt": "x"},
            "raw": {
                "explicit_data_folders-1.0.data/": b"",
                "explicit_data_folders-1.0.data/scripts/": b"",
                "explicit_data_folders-1.0.data/data/": b"",
                "explicit_data_folders-1.0.data/data/share/": b"",
            },
        },
        "empty-folder": {
            "files": {"empty_folder/__init__.py": ""},
            "raw": {"empty_folder/nothing/": b""},
        },
        "not-in-record": {"raw": {"not_in_record/extra.py": "x = 1\n"}},
        "many-modules": {
            "files": {
                f"many_modules/m{number}.py": f"def f{number}(a, b=({number}, 'k')): return a\n" * 3
                for number in range(300)
            },
        },
    }


@pytest.mark.parametrize("name", cases())
def test_a_layer_holds_what_uv_installs(
    name: str, wheel_factory: WheelFactory, layer_of: Callable[..., Any], venv: Any
) -> None:
    path = wheel_factory.wheel(name, **cases()[name])
    found = venv.differences(layer_of(path, venv.prefix), path)
    assert not found, "\n".join(found)
