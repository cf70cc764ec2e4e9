"""Which of two classes is the one that is looked for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from braingan.errors import SettingsError

HEALTHY = {
    "normal", "healthy", "negative", "neg", "control", "controls", "cn", "nc", "nl", "hc", "none", "false",
    "background",
}  # fmt: skip
WORD = re.compile(r"[A-Z]*[a-z]+|[A-Z]+|[0-9]+")
WITHOUT = {"no", "non", "not", "without"}
TOGETHER = re.compile(r"(no|non|not|without)(tumou?rs?|cancers?|lesions?|gliomas?|disease|findings?|masses|mass)")


def positive_label(classes: Sequence[str], asked: str | None = None) -> int:
    """Label of the positive class: sensitivity, average precision and the like are about it.

    Unless it is asked for: of two classes of which one is named like healthy (`normal`, `no_tumor`, `CN`), the other
    one; else the latter.

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
    healthy = [_like_healthy(own, other) for own, other in zip(classes, reversed(classes), strict=True)]
    return 0 if healthy == [False, True] else 1


def _like_healthy(name: str, other: str) -> bool:
    """Whether a class is named like healthy; `other` is the name of the other one."""
    words, plain = ([word.lower() for word in WORD.findall(own)] for own in (name, other))
    if not words:
        return False
    if words[0] in WITHOUT:
        return not HEALTHY & set(words[1:2])  # no_tumor, no_tumor_control, but not non_normal
    together = "".join(words)
    if any(together == f"{word}{own}" for word in WITHOUT for own in HEALTHY):  # nonnormal
        return False
    named_after = any(together == f"{word}{''.join(plain)}" for word in WITHOUT)
    return bool(HEALTHY & set(words)) or named_after or bool(TOGETHER.fullmatch(together))
