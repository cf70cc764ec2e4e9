"""Which of two classes is the one that is looked for."""

from __future__ import annotations

from collections.abc import Sequence

from braingan.errors import SettingsError

HEALTHY = {"normal", "healthy", "negative", "neg", "control", "controls", "no", "none", "false", "background"}
WITHOUT = ("no", "non", "not", "without")  # before the name of the other class


def positive_label(classes: Sequence[str], asked: str | None = None) -> int:
    """Label of the positive class: sensitivity, average precision and the like are about it.

    Unless it is asked for: of two classes of which one is named like healthy (`normal`, `no_tumor` beside `tumor`), the
    other one; else the latter.

    >>> positive_label(["glioma", "healthy"]), positive_label(["cancer", "no_cancer"]), positive_label(["no", "yes"])
    (0, 0, 1)

    Args:
        classes: names in label order.
        asked: the name of one of two.

    Returns:
        1 for more than two classes, where it means nothing.

    Raises:
        SettingsError: it is asked for and is not one of two.
    """
    if asked is not None:
        if len(classes) != 2 or asked not in classes:
            listed = ", ".join(classes[:10])
            raise SettingsError(f"positive class {asked!r} was asked and the classes are {listed}; one of two works")
        return list(classes).index(asked)
    if len(classes) != 2:
        return 1
    plain = ["".join(filter(str.isalnum, name.lower())) for name in classes]
    healthy = [
        own in HEALTHY or own in {f"{word}{other}" for word in WITHOUT}
        for own, other in zip(plain, reversed(plain), strict=True)
    ]
    return 0 if healthy == [False, True] else 1
