"""A maker's description -> the settings that it recommends: strength, sampler, steps, CFG.

People write as they like. Only plain statements count; a number that may be about something else is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

MAX_TEXT = 1 << 15
"""Characters that are read."""


@dataclass(frozen=True)
class Advice:
    """Recommended settings; None or empty where the texts say nothing."""

    range: tuple[float, float] | None = None
    """Strengths between which it works."""
    strength: float | None = None
    """The one strength that is recommended."""
    sampler: str = ""
    """By A1111's name: 'DPM++ SDE Karras'."""
    steps: int | None = None
    cfg: float | None = None

    @property
    def preferred(self) -> float | None:
        """The recommended strength, else the middle of the range; None for no advice, or if 1 is within the range."""
        if self.strength is not None or self.range is None:
            return self.strength
        low, high = self.range
        return None if low <= 1 <= high else round((low + high) / 2, 2)


def advice(*texts: str) -> Advice:
    """What plain texts recommend together; if two differ, the earlier one counts."""
    clauses = [clause for text in texts for clause in _clauses(text[:MAX_TEXT])]
    low_high, strength = _strength(clauses)
    sampler = next((found for clause in clauses if (found := _sampler(clause))), "")
    steps = next((count for clause in clauses if (count := _steps(clause))), None)
    cfg = next((scale for clause in clauses if (scale := _cfg(clause))), None)
    return Advice(low_high, strength, sampler, steps, cfg)


_ONE = r"(?:\d{1,3}(?:[.,]\d{1,3})?|\.\d{1,3})%?"
_BETWEEN = r"\s{0,3}(?:-|–|—|~|〜|to|and|up to|or(?: maybe)?(?: up to)?|through)\s{0,3}"
_VALUES = re.compile(rf"(?<![\w.,+-])({_ONE})(?:{_BETWEEN}({_ONE}))?(?![\d%]|[.,]\d|[a-wyz])", re.IGNORECASE)


_LONGEST = 400  # characters of a clause; a longer one is cut


class _Found(NamedTuple):
    low: float
    high: float
    exact: bool
    """Whether it was written with a decimal point or a percent sign, so that it can't be a count."""
    start: int
    end: int


def _clauses(text: str) -> list[str]:
    """Lines and sentences, each short enough to tell its settings apart."""
    found = re.split(r"[\n;|•]|(?<=[^\d\s])[.!?](?=\s)|(?<=\d)[.!?](?=\s+[A-Z])", text)
    return [clause[at : at + _LONGEST] for clause in found for at in range(0, len(clause), _LONGEST)]


def _numbers(clause: str) -> list[_Found]:
    """Ranges and single numbers, in order. '0.5-0.7' is one, and so is '0,5 or maybe up to 0,8'."""
    return [
        _Found(min(values), max(values), any(char in match[0] for char in ".,%"), match.start(), match.end())
        for match in _VALUES.finditer(clause)
        if (values := [_value(part) for part in match.groups() if part])
    ]


def _value(text: str) -> float:
    number = float(text.rstrip("%").replace(",", "."))
    return number / 100 if text.endswith("%") else number


_TAG = re.compile(r"<hypernet:[^:<>]{1,200}:(\d{0,2}\.?\d{1,3})[:>]", re.IGNORECASE)
_KEY = re.compile(r"\b(?:strengths?|str|weights?|multiplier|intensity|hyper-?net(?:work)?s?)\b", re.IGNORECASE)
_OTHER = re.compile(
    r"\b(?:cfg|guidance|steps?|denois\w*|hi-?res\w*|upscal\w*|clip|sampler|lora|locon|lycoris|embedding|controlnet|"
    r"ensd|eta|epochs?|rate|size|sd|stable diffusion|version|ver|v|seed|variation|prompt|images?|pictures?|batch\w*|gb|"
    r"mb|px|dropout|vae|layers?|structure|ratio|model|checkpoint|merge\w*|mix\w*)\b",
    re.IGNORECASE,
)
_GOOD = re.compile(
    r"\b(?:well|best|good|great|nice|nicely|fine|ideal|optimal|perfect|perfectly|sweet ?spot|recommend\w*|suggest\w*|"
    r"prefer\w*|default)\b",
    re.IGNORECASE,
)
_EMPHASIS = re.compile(r"\(([^()]{0,80}):\s?$")
"""As in (best quality:1.2)."""
_NEAR = 45  # characters between a setting and its name
_STRONGEST = 2.0


def _strength(clauses: list[str]) -> tuple[tuple[float, float] | None, float | None]:
    """The range and the one good value, from the first clause that has either; a tag in the text as a last resort."""
    span: tuple[float, float] | None = None
    one: float | None = None
    for clause in clauses:
        found = [value for value in _numbers(clause) if _is_strength(clause, value)]
        ranges = [value for value in found if value.low < value.high]
        single = [value for value in found if value.low == value.high]
        if ranges and span is None:
            span = (ranges[0].low, ranges[0].high)
        if single and one is None and (span is None or ranges or _GOOD.search(clause)):
            praised = [value for value in single if _GOOD.search(_until_next(clause, value))]
            one = (praised or single)[0].low
    if span is None and one is None:
        tags = [match for clause in clauses for match in _TAG.finditer(clause)]
        one = next((value for tag in tags if 0 < (value := float(tag[1])) <= _STRONGEST), None)
    if span is not None and one is not None and not span[0] <= one <= span[1]:
        one = None
    return span, one


def _until_next(clause: str, value: _Found) -> str:
    """The text after a number, up to the next number."""
    behind = clause[value.end : value.end + _NEAR]
    return re.split(r"[.,]?\d", behind, maxsplit=1)[0]


def _is_strength(clause: str, value: _Found) -> bool:
    """Whether this number is said to be a strength, or can be nothing else."""
    if not (value.low > 0 and value.high <= _STRONGEST):
        return False
    before, behind = clause[: value.start], clause[value.end : value.end + 20]
    emphasis = _EMPHASIS.search(before)
    if emphasis and not _KEY.search(emphasis[1]):
        return False
    keys = list(_KEY.finditer(before, max(0, value.start - _NEAR)))
    others = list(_OTHER.finditer(before, max(0, value.start - _NEAR)))
    if re.match(r"\s*(?:sampling |sampler )?(?:steps?|cfg|epochs?|images?|times)\b", behind, re.IGNORECASE):
        return False
    if keys and not any(_names(before, other, keys[-1]) for other in others):
        return value.exact or _assigned(before[keys[-1].end() :])
    if others:
        return False
    if re.match(r"\s*(?:hyper-?net(?:work)?\s+)?(?:strength|weight|str)\b", behind, re.IGNORECASE):
        return True
    return value.exact and (value.low < value.high or bool(_GOOD.search(clause)))


def _names(before: str, other: re.Match[str], key: re.Match[str]) -> bool:
    """Whether a word makes the key's number another setting's: 'denoising strength', 'strength and CFG'."""
    return other.start() >= key.end() or not re.search(r"[\d,;:)]", before[other.end() : key.start()])


def _assigned(between: str) -> bool:
    """Whether only 'of', ':', '=' or the like stands between a name and a whole number."""
    return bool(re.fullmatch(r"(?:strength|of|at|is|to|around|about|between|from|[\s:=(~])*", between, re.IGNORECASE))


_SAMPLERS = (
    (r"dpm\s?\+\+\s?3m\s?sde", "DPM++ 3M SDE"),
    (r"dpm\s?\+\+\s?2m\s?sde(?:\s?heun)?", "DPM++ 2M SDE"),
    (r"dpm\s?\+\+\s?2s\s?(?:a\b|ancestral)", "DPM++ 2S a"),
    (r"dpm\s?\+\+\s?2m", "DPM++ 2M"),
    (r"dpm\s?\+\+\s?sde", "DPM++ SDE"),
    (r"dpm\s?2\s?(?:a\b|ancestral)", "DPM2 a"),
    (r"dpm\s?2\b", "DPM2"),
    (r"dpm\s?fast", "DPM fast"),
    (r"dpm\s?adaptive", "DPM adaptive"),
    (r"\beuler[\s_-]?(?:a\b|ancestral)", "Euler a"),
    (r"\beuler\b", "Euler"),
    (r"\blms\b", "LMS"),
    (r"\bheun\b", "Heun"),
    (r"\bddim\b", "DDIM"),
    (r"\bplms\b", "PLMS"),
    (r"\buni-?pc\b", "UniPC"),
)
_SPELLINGS = [(re.compile(pattern, re.IGNORECASE), name) for pattern, name in _SAMPLERS]
_BAD = re.compile(r"\b(?:avoid|don'?t|do not|not|never|except|worse|bad)\b", re.IGNORECASE)
_SCHEDULES = re.compile(r"[\s_-]{0,3}(karras|exponential)\b", re.IGNORECASE)
_SCHEDULED = ("DPM", "LMS")


def _sampler(clause: str) -> str:
    """The sampler named first, unless the reader is warned of it."""
    found = [(match.start(), -match.end(), name) for spelling, name in _SPELLINGS if (match := spelling.search(clause))]
    if not found:
        return ""
    start, end, name = min(found)
    if _BAD.search(clause[:start]):
        return ""
    schedule = _SCHEDULES.match(clause, -end)
    return f"{name} {schedule[1].capitalize()}" if schedule and name.startswith(_SCHEDULED) else name


_COUNT = rf"(\d{{1,3}})(?:{_BETWEEN}(\d{{1,3}}))?"
_STEPS = (
    re.compile(rf"(?<![\w.,]){_COUNT}\s{{0,2}}(?:sampling |sampler )?steps?\b", re.IGNORECASE),
    re.compile(
        rf"\bsteps?\b[\s:=~(]{{0,4}}(?:of|is|are|at|around|about|between|from)?\s?{_COUNT}(?![\d.,]?\d|k)",
        re.IGNORECASE,
    ),
)
_NOT_SAMPLING = re.compile(
    r"(?:train\w*|learn\w*|epochs?|hi-?res\w*|upscal\w*|every|each|save\w*)[^,;]{0,25}$", re.IGNORECASE
)


def _steps(clause: str) -> int | None:
    for pattern in _STEPS:
        for match in pattern.finditer(clause):
            values = [int(digits) for digits in match.groups() if digits]
            if _NOT_SAMPLING.search(clause[max(0, match.start() - 40) : match.start()]):
                continue
            if all(1 <= value <= 150 for value in values):
                return round(sum(values) / len(values))
    return None


_SCALE = (
    re.compile(
        rf"\b(?:cfg|guidance)\b[^\d\n.]{{0,20}}({_ONE})(?:{_BETWEEN}({_ONE}))?(?!\d|\s?(?:sampling )?steps)",
        re.IGNORECASE,
    ),
    re.compile(rf"(?<![\w.,])({_ONE})(?:{_BETWEEN}({_ONE}))?\s{{0,2}}(?:cfg|guidance)\b", re.IGNORECASE),
)


def _cfg(clause: str) -> float | None:
    for pattern in _SCALE:
        if match := pattern.search(clause):
            values = [_value(text) for text in match.groups() if text and not text.endswith("%")]
            if values and all(1 <= value <= 30 for value in values):
                return round(sum(values) / len(values) * 2) / 2
    return None
