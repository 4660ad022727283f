"""``python -m focus_core`` is ``focus``."""

from focus_core.cli import main

if __name__ == "__main__":
    main()
