"""The explorer's sources.

explorer        GraphiQL, built by `python -m app.ui.build`
small_explorer  needs no build
"""

from pathlib import Path

SOURCES = Path(__file__).parent
BUILT = SOURCES / "explorer" / "dist"
SMALL = SOURCES / "small_explorer"
