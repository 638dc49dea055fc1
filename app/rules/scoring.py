"""How good a lead is, 0 to 100, and why: five parts, and every point, and every missing one, has a reason."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

from app.rules.emails import DomainClass, domain_class, is_role_address
from app.rules.matching import any_fits_equal, any_fits_words
from app.rules.phones import is_readable_phone


class ScoreComponentKind(StrEnum):
    """The parts of a score, in the order in which they are told."""

    EMAIL_VALIDITY = "EMAIL_VALIDITY"
    PROFILE_COMPLETENESS = "PROFILE_COMPLETENESS"
    COMPANY_DATA = "COMPANY_DATA"
    SOURCE_RELIABILITY = "SOURCE_RELIABILITY"
    CAMPAIGN_MATCH = "CAMPAIGN_MATCH"


DEFAULT_WEIGHTS: Mapping[str, int] = {
    "EMAIL_VALIDITY": 30,
    "PROFILE_COMPLETENESS": 20,
    "COMPANY_DATA": 20,
    "SOURCE_RELIABILITY": 15,
    "CAMPAIGN_MATCH": 15,
}
DEFAULT_SOURCES: Mapping[str, float] = {"linkedin": 1.0, "website": 0.9, "referral": 0.9, "api": 0.8, "csv": 0.6, "instagram": 0.5}
UNKNOWN_SOURCE = 0.4
NO_SOURCE = 0.2
_NEUTRAL_MATCH = 7


@dataclass(slots=True)  # not frozen: one is made for every lead that is scored, and that takes three times as long
class Profile:
    """What of a lead counts for its score; None where it is blank."""

    email_key: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    title: str | None = None
    linkedin_url: str | None = None
    phone: str | None = None
    company: str | None = None
    website: str | None = None
    location: str | None = None
    source: str | None = None


#: The columns of a lead that a score is made from.
PROFILE = tuple(each.name for each in fields(Profile))


@dataclass(frozen=True, slots=True)
class ScoringRules:
    """How a workspace scores. Weights sum to 100; sources are named as leads keep them, folded to lower case, each 0 to 1."""

    version: int = 1
    threshold: int = 85
    weights: Mapping[str, int] = field(default_factory=lambda: DEFAULT_WEIGHTS)
    sources: Mapping[str, float] = field(default_factory=lambda: DEFAULT_SOURCES)
    #: What tells these weights and sources from others: a text, which keeps its hash, for it is asked for with each lead.
    key: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Make the key once."""
        object.__setattr__(self, "key", repr((*self.weights.items(), None, *self.sources.items())))


@dataclass(frozen=True, slots=True)
class Criteria:
    """Whom a campaign is for. An empty list asks nothing; a lead meets one when one of its entries fits."""

    campaign_id: str
    titles: tuple[str, ...] = ()
    companies: tuple[str, ...] = ()
    locations: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def asks(self) -> bool:
        """Whether any list asks anything."""
        return bool(self.titles or self.companies or self.locations or self.sources)


class Points(NamedTuple):
    """Points by the default weights, and what they are for."""

    points: int
    reason: str


class Match(NamedTuple):
    """The campaign that suits a lead best (None where none asks anything), as points of 15."""

    campaign_id: str | None
    points: int
    reason: str


class Case(NamedTuple):
    """All that a part may look at."""

    lead: Profile
    rules: ScoringRules
    local: str
    domain: DomainClass | None
    match: Match


class Scored(NamedTuple):
    """A score, ready for its JSON column; `components` is `[{"kind", "points", "maximum", "reasons"}]` in the kinds' order."""

    value: int
    components: list[dict[str, Any]]
    campaign_id: str | None


Part = Callable[[Case], Iterator[Points]]
#: Kind, default maximum, and the rule; in the order in which they are told.
PARTS: list[tuple[str, int, Part]] = []


def part(kind: ScoreComponentKind, *, maximum: int) -> Callable[[Part], Part]:
    """Register a part of the score. It yields points that sum to at most `maximum`."""

    def register(rule: Part) -> Part:
        PARTS.append((kind.value, maximum, rule))
        return rule

    return register


_NO_EMAIL = Points(0, "no e-mail address")
_ROLE = Points(15, "role address, not a person's own")
_BY_DOMAIN = {
    DomainClass.DISPOSABLE: Points(5, "address on a disposable domain"),
    DomainClass.FREE: Points(22, "address on a free-mail domain"),
    DomainClass.BUSINESS: Points(30, "address on a business domain"),
}


@part(ScoreComponentKind.EMAIL_VALIDITY, maximum=30)
def email_validity(case: Case) -> Iterator[Points]:
    """Tell how likely the address is to reach a person at work; what speaks against it most decides."""
    if case.domain is None:
        yield _NO_EMAIL
    elif case.domain is not DomainClass.DISPOSABLE and is_role_address(case.local):
        yield _ROLE
    else:
        yield _BY_DOMAIN[case.domain]


_PHONE = Points(3, "phone"), Points(0, "no phone")
_UNREADABLE_PHONE = Points(0, "a phone that nobody could dial")
_FIRST_NAME = Points(4, "first name"), Points(0, "no first name")
_LAST_NAME = Points(4, "last name"), Points(0, "no last name")
_TITLE = Points(5, "title"), Points(0, "no title")
_LINKEDIN = Points(4, "LinkedIn profile"), Points(0, "no LinkedIn profile")


@part(ScoreComponentKind.PROFILE_COMPLETENESS, maximum=20)
def profile_completeness(case: Case) -> Iterator[Points]:
    """Tell how much is known of the person."""
    lead = case.lead
    yield _FIRST_NAME[not lead.first_name]
    yield _LAST_NAME[not lead.last_name]
    yield _TITLE[not lead.title]
    yield _LINKEDIN[not lead.linkedin_url]
    yield _UNREADABLE_PHONE if lead.phone and not is_readable_phone(lead.phone) else _PHONE[not lead.phone]


_COMPANY = Points(10, "company name"), Points(0, "no company name")
_BUSINESS_DOMAIN = Points(8, "e-mail on a business domain"), Points(0, "no e-mail on a business domain")
_WEBSITE = Points(2, "website"), Points(0, "no website")


@part(ScoreComponentKind.COMPANY_DATA, maximum=20)
def company_data(case: Case) -> Iterator[Points]:
    """Tell how much is known of the company."""
    yield _COMPANY[not case.lead.company]
    yield _BUSINESS_DOMAIN[case.domain is not DomainClass.BUSINESS]
    yield _WEBSITE[not case.lead.website]


@part(ScoreComponentKind.SOURCE_RELIABILITY, maximum=15)
def source_reliability(case: Case) -> Iterator[Points]:
    """Tell how far leads from this source can be trusted, by the workspace's own list."""
    source, sources = case.lead.source, case.rules.sources
    if source is None:
        yield Points(_reliability_points(NO_SOURCE), f"no source, which counts {NO_SOURCE}")
    elif source in sources:
        yield Points(_reliability_points(sources[source]), f"source {source}, which counts {sources[source]}")
    else:
        yield Points(_reliability_points(UNKNOWN_SOURCE), f"source {source}, not listed, which counts {UNKNOWN_SOURCE}")


# In decimals, so that the product is what one reckons by hand, and not a hair below it.
@lru_cache(maxsize=1024)
def _reliability_points(reliability: float) -> int:
    return min(15, max(0, int(15 * Decimal(str(reliability)))))


@part(ScoreComponentKind.CAMPAIGN_MATCH, maximum=15)
def campaign_match(case: Case) -> Iterator[Points]:
    """Tell how well the lead suits the best of its campaigns."""
    yield Points(case.match.points, case.match.reason)


_NO_MATCH = Match(None, _NEUTRAL_MATCH, "no campaign that asks anything")


def best_match(lead: Profile, campaigns: Iterable[Criteria]) -> Match:
    """Find the campaign whose criteria the lead meets the greatest share of; the first given wins a tie.

    One that asks counts before those that don't, even where the lead meets none of it.
    """
    best: tuple[Criteria, list[str], list[str]] | None = None
    for campaign in campaigns:
        if not campaign.asks:
            continue
        met, unmet = _compare(lead, campaign)
        # The shares are compared crosswise, as whole numbers.
        if best is None or len(met) * (len(best[1]) + len(best[2])) > len(best[1]) * (len(met) + len(unmet)):
            best = campaign, met, unmet
    if best is None:
        return _NO_MATCH
    campaign, met, unmet = best
    told = "; ".join(f"{verb} {', '.join(names)}" for verb, names in (("meets", met), ("misses", unmet)) if names)
    return Match(campaign.campaign_id, 15 * len(met) // (len(met) + len(unmet)), f"campaign: {told}")


def _compare(lead: Profile, campaign: Criteria) -> tuple[list[str], list[str]]:
    met: list[str] = []
    unmet: list[str] = []
    if campaign.titles:
        (met if any_fits_words(campaign.titles, lead.title) else unmet).append("titles")
    if campaign.companies:
        (met if any_fits_equal(campaign.companies, lead.company) else unmet).append("companies")
    if campaign.locations:
        (met if any_fits_words(campaign.locations, lead.location) else unmet).append("locations")
    if campaign.sources:
        (met if any_fits_equal(campaign.sources, lead.source) else unmet).append("sources")
    return met, unmet


def score(profile: Profile, rules: ScoringRules, campaigns: Sequence[Criteria]) -> Scored:
    """Score a lead by its workspace's rules and the campaigns that it is in, oldest first.

    Leads that are alike in all that counts share their components: nobody may change them.
    """
    local, _, domain = (profile.email_key or "").rpartition("@")
    match = best_match(profile, campaigns) if campaigns else _NO_MATCH
    case = Case(profile, rules, local, domain_class(domain) if domain else None, match)
    seen = (
        case.domain,
        case.domain is not None and is_role_address(local),
        not profile.first_name,
        not profile.last_name,
        not profile.title,
        not profile.linkedin_url,
        not profile.phone or not is_readable_phone(profile.phone),
        not profile.phone,
        not profile.company,
        not profile.website,
        profile.source,
        match.points,
        match.reason,
        rules.key,
    )
    known = _SCORED.get(seen)
    if known is None:
        if len(_SCORED) >= _MOST_SCORED:
            _SCORED.clear()
        known = _SCORED[seen] = _score(case)
    return Scored(*known, match.campaign_id)


#: Scores by all that the parts look at: of thousands of leads, hardly a hundred differ in that.
_SCORED: dict[tuple[Any, ...], tuple[int, list[dict[str, Any]]]] = {}
_MOST_SCORED = 5_000


def _score(case: Case) -> tuple[int, list[dict[str, Any]]]:
    value = 0
    components: list[dict[str, Any]] = []
    for kind, default, rule in PARTS:
        maximum = case.rules.weights.get(kind, default)
        points = 0
        reasons = []
        for one, reason in rule(case) if maximum == default else _weighed(rule(case), maximum, default):
            points += one
            reasons.append(f"{reason} +{one}")
        value += points
        components.append({"kind": kind, "points": points, "maximum": maximum, "reasons": reasons})
    return value, components


def _weighed(found: Iterable[Points], maximum: int, default: int) -> Iterator[Points]:
    """Bring points to another maximum, rounding the running sum down: the reasons add up to the part, to the point."""
    total = told = 0
    for points, reason in found:
        total += points
        yield Points(total * maximum // default - told, reason)
        told = total * maximum // default
