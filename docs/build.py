"""Build the documentation strictly; its configuration stands in pyproject.toml, as all configuration does."""

from __future__ import annotations

import io
import json
import sys
import tomllib
from pathlib import Path

from mkdocs.commands.build import build
from mkdocs.config import load_config

ROOT = Path(__file__).parent.parent


def main() -> int:
    """Build `docs/` into `site/`; any warning is an error."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mkdocs"]
    settings |= {"docs_dir": str(ROOT / "docs"), "site_dir": str(ROOT / "site")}
    file = io.BytesIO(json.dumps(settings).encode())  # JSON is YAML, which mkdocs wants
    build(load_config(config_file=file, strict=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
