"""What the ten demo scenes are made of, and how far their places differ and their classes overlap."""

from __future__ import annotations

from dataclasses import dataclass

BED_HZ = (40.0, 125.0, 400.0, 1_200.0, 4_000.0, 12_000.0)


@dataclass(frozen=True)
class Recipe:
    """What a scene is made of: levels in dB relative to the bed of noise, -60 for what is absent.

    ``bed_db`` is the bed's amplitude spectrum at 40 Hz ... 12 kHz; ``sway`` the depth of its slow modulation;
    ``talk`` babble, ``steps`` footsteps and clicks, ``clatter`` wheel impacts in pairs, ``engine`` a low harmonic hum,
    ``whine`` a gliding motor tone, ``passing`` vehicles going by, ``birds`` chirps, ``chime`` announcement tones,
    ``rolling`` rough noise of suitcases and trolleys; ``rates`` are steps, clatter and birds per second; ``echo_s`` the
    reverberation time.
    """

    bed_db: tuple[float, ...]
    sway: float
    talk: float
    steps: float
    clatter: float
    engine: float
    whine: float
    passing: float
    birds: float
    chime: float
    rolling: float
    rates: tuple[float, float, float]
    echo_s: float


RECIPES: dict[str, Recipe] = {
    # bed, sway, talk, steps, clatter, engine, whine, passing, birds, chime, rolling, rates, echo
    "airport": Recipe((2, 0, -4, -10, -18, -28), 0.25, -4, -8, -60, -60, -16, -60, -60, -6, 0, (1.8, 0.0, 0.0), 1.3),
    "bus": Recipe((10, 4, -5, -15, -25, -36), 0.35, -11, -14, -13, 3, -16, -13, -60, -20, -60, (0.8, 2.0, 0.0), 0.15),
    "metro": Recipe((6, 4, -3, -12, -20, -30), 0.45, -14, -18, -2, -14, 1, -60, -60, -16, -60, (0.5, 5.0, 0.0), 0.4),
    "metro_station": Recipe(
        (3, 2, -2, -9, -17, -25), 0.4, -6, -3, -14, -20, -3, -8, -60, -7, -16, (2.4, 1.5, 0.0), 1.8
    ),
    "park": Recipe((2, -2, -8, -13, -15, -20), 0.6, -16, -8, -60, -60, -60, -20, 2, -60, -60, (1.3, 0.0, 3.5), 0.1),
    "public_square": Recipe(
        (4, 1, -4, -9, -15, -22), 0.5, -6, -8, -60, -20, -60, -3, -7, -4, -20, (2.2, 0.0, 1.6), 0.6
    ),
    "shopping_mall": Recipe(
        (1, 0, -3, -9, -19, -31), 0.2, 1, -5, -60, -60, -60, -60, -60, -12, -9, (3.4, 0.0, 0.0), 0.9
    ),
    "street_pedestrian": Recipe(
        (3, 1, -4, -11, -19, -28), 0.3, -2, 2, -60, -20, -60, -10, -14, -60, -14, (3.4, 0.0, 0.8), 0.3
    ),
    "street_traffic": Recipe(
        (8, 4, -3, -9, -16, -26), 0.5, -15, -12, -60, -6, -60, 6, -18, -60, -60, (1.2, 0.0, 0.4), 0.3
    ),
    "tram": Recipe((7, 4, -3, -14, -24, -34), 0.4, -10, -16, 3, -9, -7, -16, -60, -16, -60, (0.7, 2.8, 0.0), 0.15),
}
SCENES = tuple(RECIPES)

# the scenes a place of a class may lean towards
NEIGHBOURS = {
    "airport": ("shopping_mall", "metro_station"),
    "bus": ("tram", "metro"),
    "metro": ("tram", "bus"),
    "metro_station": ("airport", "metro"),
    "park": ("public_square", "street_pedestrian"),
    "public_square": ("street_pedestrian", "street_traffic"),
    "shopping_mall": ("airport", "street_pedestrian"),
    "street_pedestrian": ("public_square", "shopping_mall"),
    "street_traffic": ("public_square", "bus"),
    "tram": ("metro", "bus"),
}
PART_NAMES = ("talk", "steps", "clatter", "engine", "whine", "passing", "birds", "chime", "rolling")
# How hard the set is: the largest lean towards a neighbour, and the spread (dB) of part levels between places and
# between clips, and of the bed's spectrum between places. Tuned so that accuracy grows with the size of the network.
MAX_LEAN = 0.25
PLACE_SPREAD_DB = 1.5
CLIP_SPREAD_DB = 2.0
BED_SPREAD_DB = 1.0
