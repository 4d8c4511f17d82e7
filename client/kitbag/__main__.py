"""`python -m kitbag`, for where the script's folder is not on PATH."""

from kitbag.cli import main

raise SystemExit(main())
