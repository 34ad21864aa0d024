"""What a space may say: the keys of every section with kind, range, default and meaning. Nothing here reads YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from asc_search.audio.device_ir import SCALINGS
from asc_search.audio.frontend_spec import KINDS, LOGS, MEL_NORMS, MEL_SCALES, STANDARDISATIONS, FrontEnd
from asc_search.nets.blocks import Option, families
from asc_search.space import pruning
from asc_search.space.candidate import Candidate, Distillation, Training
from asc_search.space.challenge_keys import DESCRIPTION_KEYS
from asc_search.space.published import PRESETS, REFERENCES
from asc_search.space.weight_type import Int8

OBJECTIVES = ("accuracy", "macs", "params", "weight_bytes")
WEIGHT_TYPES = ("fp32", "fp16", "int8")
STRIDES = tuple(f"{freq}x{time}" for freq, time in product((1, 2, 3), repeat=2))
STEM_STRIDES = (*STRIDES, *(f"1x{time}" for time in (4, 6, 8, 12, 16, 24, 32, 48)))  # raw waveforms need long ones
HUGE = 10**15
RESPONSE_PATHS = ("auto", "exact")
# Named here as they have no say in the train room, which is above this one and knows what they mean.
OPTIMIZERS = ("adamw", "adam", "amsgrad", "radam", "sgd")
SCHEDULES = ("cosine", "linear", "steps", "inverse", "constant")
PUBLISHED_SCHEDULES = (
    "vivo",
    "cpjku2022",
    "cpjku2023",
    "baseline2024",
    "scut",
    "seoul_raw",
    "seoul_student",
    "seoul_mel",
)


@dataclass(frozen=True)
class Field:
    """An option of the space itself: may be required, have other spellings, or (``absent``) have no value at all."""

    option: Option
    required: bool = False
    absent: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)


def number(default: float, low: float, high: float, doc: str) -> Option:
    """An int or float option, by the type of its default."""
    return Option("int" if isinstance(default, int) else "float", default, doc, low, high)


def choice(default: str, choices: Sequence[str], doc: str) -> Option:
    return Option("str", default, doc, choices=tuple(choices))


_FRONT, _TRAIN, _PRUNE, _DISTIL = FrontEnd(), Training(), pruning.Pruning(), Distillation()

FRONTEND = {
    "kind": choice(_FRONT.kind, KINDS, "log-mel spectrogram, or the raw waveform as one row"),
    "rate_hz": number(_FRONT.rate_hz, 4_000, 192_000, "sampling rate in Hz"),
    "window": number(_FRONT.window, 16, 65_536, "analysis window in samples"),
    "hop": number(_FRONT.hop, 16, 65_536, "samples from one frame to the next"),
    "n_fft": number(_FRONT.n_fft, 16, 65_536, "FFT length in samples, at least the window"),
    "mels": number(_FRONT.mels, 8, 1024, "mel bands: the network's input height"),
    "fmin_hz": number(_FRONT.fmin_hz, 0, 96_000, "lower edge of the mel filters in Hz"),
    "fmax_hz": number(_FRONT.fmax_hz, 0, 96_000, "upper edge of the mel filters in Hz, 0 for half the rate"),
    "log_floor": number(_FRONT.log_floor, 1e-12, 1, "added to the mel power before the logarithm"),
    "seconds": number(_FRONT.seconds, 0.1, 60, "length of one input window in seconds"),
    "channels": number(_FRONT.channels, 1, 2, "channels heard: 1, the mean of those there are, or 2 (binaural audio)"),
    "pre_emphasis": number(_FRONT.pre_emphasis, 0, 0.999, "x[t] - c x[t-1] before all else, 0 for none"),
    "centre": Option("bool", _FRONT.centre, "frames around each hop, the ends reflected; false: whole frames only"),
    "mel_scale": choice(_FRONT.mel_scale, MEL_SCALES, "mel scale"),
    "mel_norm": choice(_FRONT.mel_norm, MEL_NORMS, "mel filters of equal height, or of equal area (slaney)"),
    "log": choice(_FRONT.log, LOGS, "logarithm of the mel power"),
    "deltas": Option("bool", _FRONT.deltas, "slopes over five frames as a second channel"),
    "standardise": choice(
        _FRONT.standardise,
        STANDARDISATIONS,
        "mean 0 and deviation 1: of each window, or with statistics of the training part by mel band or of all, or AudioSet's",
    ),
}

TRAINING = {
    "lr": number(_TRAIN.lr, 1e-7, 1, "peak learning rate"),
    "weight_decay": number(_TRAIN.weight_decay, 0, 1, "weight decay"),
    "batch": number(_TRAIN.batch, 2, 4096, "windows in a batch"),
    "warmup": number(_TRAIN.warmup, 0, 1, "share of the steps with rising learning rate"),
    "crops_per_clip": number(_TRAIN.crops_per_clip, 1, 64, "windows drawn from each clip an epoch"),
    "roll_s": number(_TRAIN.roll_s, 0, 60, "roll of the window in time, at most, in seconds"),
    "roll_p": number(_TRAIN.roll_p, 0, 1, "probability of the roll"),
    "shift_s": number(_TRAIN.shift_s, 0, 60, "shift in time with silence entering, at most, in seconds"),
    "shift_p": number(_TRAIN.shift_p, 0, 1, "probability of the shift"),
    "freq_mask": number(_TRAIN.freq_mask, 0, 1024, "mel bands masked, at most"),
    "freq_stripes": number(_TRAIN.freq_stripes, 0, 64, "number of frequency stripes"),
    "freq_width": number(_TRAIN.freq_width, 0, 1024, "mel bands of each frequency stripe, at most, 0 for no stripes"),
    "mixstyle_p": number(_TRAIN.mixstyle_p, 0, 1, "probability of Freq-MixStyle"),
    "mixstyle_alpha": number(_TRAIN.mixstyle_alpha, 0.01, 10, "Beta parameter of Freq-MixStyle"),
    "mixup_alpha": number(_TRAIN.mixup_alpha, 0, 10, "Beta parameter of mixup, 0 for none"),
    "time_stripes": number(_TRAIN.time_stripes, 0, 64, "number of time stripes"),
    "time_mask": number(_TRAIN.time_mask, 0, 4096, "frames of each time stripe, at most, 0 for no stripes"),
    "stripes_p": number(_TRAIN.stripes_p, 0, 1, "probability of the time, and of the frequency stripes"),
    "fill_mean": Option("bool", _TRAIN.fill_mean, "stripes are of the window's mean, not of silence"),
    "mixup_full_until": number(_TRAIN.mixup_full_until, 0, 1, "share of the training with mixup of whole batches"),
    "mixup_one_lambda": Option("bool", _TRAIN.mixup_one_lambda, "one lambda for a batch, not for each sample"),
    "response_p": number(_TRAIN.response_p, 0, 1, "probability of hearing a clip through a device's response"),
    "response_scaling": choice(
        _TRAIN.response_scaling, SCALINGS, "level after a response: as it is, or the range kept"
    ),
    "response_path": choice(
        _TRAIN.response_path, RESPONSE_PATHS, "responses of small measured error as gains on kept log-mels, or none"
    ),
    "stretch": number(_TRAIN.stretch, 0, 0.5, "time stretch: the rate's largest distance from 1"),
    "stretch_p": number(_TRAIN.stretch_p, 0, 1, "probability of the time stretch"),
    "gain_db": number(_TRAIN.gain_db, 0, 60, "change of level in dB, at most"),
    "gain_p": number(_TRAIN.gain_p, 0, 1, "probability of the change of level"),
    "jitter_fmin_hz": number(_TRAIN.jitter_fmin_hz, 0, 1000, "lower edge of the mel filters raised by less than this"),
    "jitter_fmax_hz": number(_TRAIN.jitter_fmax_hz, 0, 20_000, "range of the upper edge around fmax_hz, 0 for none"),
    "correction_p": number(_TRAIN.correction_p, 0, 1, "probability of correcting device a's windows to other devices"),
    "correction_per_batch": Option("bool", _TRAIN.correction_per_batch, "one correction, or none, for a whole batch"),
    "optimizer": choice(_TRAIN.optimizer, OPTIMIZERS, "optimiser"),
    "momentum": number(_TRAIN.momentum, 0, 0.999, "momentum of sgd"),
    "schedule": choice(
        _TRAIN.schedule, (*SCHEDULES, *PUBLISHED_SCHEDULES), "how the learning rate falls, or a published schedule"
    ),
    "ramp": choice(_TRAIN.ramp, ("linear", "exponential"), "how the learning rate rises"),
    "hold": number(_TRAIN.hold, 0, 1, "share of the steps at the peak learning rate"),
    "fall": number(_TRAIN.fall, 0, 1, "share of the steps with falling learning rate, 0 for all that is left"),
    "final_lr": number(_TRAIN.final_lr, 0, 1, "share of the learning rate it falls to"),
    "grad_clip": number(_TRAIN.grad_clip, 0, 1e6, "largest norm of the gradient, 0 for any"),
    "ema_decay": number(_TRAIN.ema_decay, 0, 0.99999, "decay of the averaged weights, 0 for none"),
    "label_smoothing": number(_TRAIN.label_smoothing, 0, 0.9, "share of a hard label spread over all classes"),
    "precision": choice(_TRAIN.precision, ("fp32", "bf16", "fp16"), "type of the forward pass"),
}

PRUNING = {
    "ratio": number(_PRUNE.ratio, 0, pruning.MOST, "share of the channels removed, 0 for none"),
    "start": number(_PRUNE.start, 0, 1, "share of the epochs before pruning"),
    "importance": choice(_PRUNE.importance, pruning.IMPORTANCES, "channels of the least importance go first"),
    "schedule": choice(_PRUNE.schedule, pruning.SCHEDULES, "all at once, or in steps"),
    "steps": number(_PRUNE.steps, 1, 1000, "steps of a linear or agp schedule"),
    "end": number(_PRUNE.end, 0, 1, "share of the epochs before the last of several steps"),
    "through": Option(
        "str", _PRUNE.through, "widths of the stem that the schedule `through` stops at, such as '80>64'"
    ),
    "target": choice(_PRUNE.target, pruning.TARGETS, "the ratio as given, or the least one within the budget"),
    "taper": number(_PRUNE.taper, 0, 1, "to the budget: how much more of wide layers goes, 1 cuts all to one width"),
    "round_to": number(_PRUNE.round_to, 1, 64, "what the widths that are left are multiples of"),
    "widths": Option("str", _PRUNE.widths, "channels left of some widths, instead of the ratio: '96>32, 176>58'"),
}

DISTILLATION = {
    "temperature": number(
        _DISTIL.temperature, 0.1, 100, "temperature of the teachers', the peers' and the student's logits"
    ),
    "weight": number(_DISTIL.weight, 0, 1, "share of the loss that is cross-entropy with the labels"),
    "reduction": choice(
        _DISTIL.reduction, ("batchmean", "mean"), "KL summed over the classes and weighed, or averaged and added"
    ),
    "strength": number(_DISTIL.strength, 0, 1e4, "factor of the KL that is averaged (reduction: mean)"),
    "average": choice(
        _DISTIL.average, ("logits", "probabilities", "sum"), "what of several teachers is averaged, or their KL summed"
    ),
    "shares": choice(
        _DISTIL.shares, ("equal", "learned", "by_device"), "how much each teacher counts: fitted on the validation part"
    ),
    "features": number(_DISTIL.features, 0, 1e3, "weight of predicting the teachers' embeddings, 0 for none"),
    "mixed": number(_DISTIL.mixed, 0, 1, "share of the windows that are mixtures of two, labelled by the teachers"),
    "class_share": number(_DISTIL.class_share, 0, 1, "share of the classes in scores fused with groups (data.groups)"),
    "mutual": number(_DISTIL.mutual, 0, 1e3, "weight of what the peers say (deep mutual learning)"),
    "mutual_until": number(_DISTIL.mutual_until, 0, 1, "share of the epochs after which peers only teach"),
    "mutual_teacher": Option("str", _DISTIL.mutual_teacher, "the peer that teaches then; all without one"),
}

WEIGHT_TYPE = Option("str", Candidate.weight_type, "type the weights are stored as", choices=WEIGHT_TYPES)

LIMITS = {
    "macs": number(30_000_000, 1, HUGE, "multiply-accumulates per second of audio"),
    "weight_bytes": number(128_000, 1, HUGE, "bytes of all weights"),
}

DATA = {
    "source": Option("str", "demo", "`demo`, `folder:PATH`, or a TAU set: `tau2022:PATH`"),
    "subset": choice(
        "100%", ("5%", "10%", "25%", "50%", "100%"), "share of the training part; the official one of tau2022"
    ),
    "segments": Option("bool", False, "training clips are 10-s segments, joined from their 1-s files (tau2022)"),
    "lists": Option("str", "", "folder of the official lists split5.csv, ... (tau2022); fetched without one"),
    "validation_fraction": number(0.2, 0.01, 0.9, "share of the training part kept for validation"),
    "seed": number(0, 0, 2**32 - 1, "seed of the split"),
    "responses": Option(
        "str", "generated", "device responses: `generated`, a folder of wavs, or `responses` (in the data's)"
    ),
    "allow_leaky_split": Option("bool", False, "accept splits that share recording locations"),
}

SEARCH = {
    "trials": number(50, 1, 10**6, "trainings"),
    "reduction": number(3, 2, 10, "one in this many goes on to the next rung"),
    "startup": number(10, 0, 10**6, "random trainings within the budget before a model of the accuracy chooses"),
    "seed": number(0, 0, 2**32 - 1, "seed of the search"),
    "max_rejections": number(200, 1, 10**7, "draws over the budget in a row before the search gives up"),
}
RUNGS = (1, 3, 9)
EPOCHS = number(1, 1, 10**6, "epochs")

_INT8 = Int8()

RETRAIN = {
    "epochs": number(30, 1, 10**6, "epochs of a full training"),
    "seeds": number(3, 1, 1000, "full trainings of each finalist"),
    "finalists": number(5, 1, 1000, "networks of the front that are trained fully, at most"),
    "undistilled": Option("bool", False, "also train each finalist's twin without teachers"),
    "dense_twins": Option("bool", False, "also train each pruned finalist's twin of the same widths from scratch"),
    "tta": number(
        0,
        0,
        1000,
        "passes of test-time augmentation through random device responses, reported beside the rest; 0 for none",
    ),
    "int8_tolerance": number(
        _INT8.tolerance,
        -100,
        100,
        "points of validation accuracy int8 may lose before it is trained (weight_type: int8)",
    ),
    "qat_epochs": number(_INT8.epochs, 1, 10**6, "epochs of quantisation-aware training"),
    "qat_lr": number(_INT8.lr, 1e-6, 1, "its learning rate over training.lr"),
    "qat_frozen": number(_INT8.frozen, 0, 1, "last share of its epochs with ranges and BatchNorm statistics fixed"),
}

EXPORT = {
    "profile": Option("str", "dcase2024", "rules the submission is checked against", choices=tuple(DESCRIPTION_KEYS)),
    "label": Option("str", "", "submission label"),
    "name": Option("str", "", "system name"),
    "abbreviation": Option("str", "", "abbreviation of the system's name"),
    "source_code": Option("str", "", "where the source is published; for dcase2025 the inference package's repository"),
}
KWH = Option("float", 0.0, "energy in kWh, by CodeCarbon", low=0.0)
MINUTES = Option("float", 0.0, "minutes of audio", low=0.0)

PRESET = Option("str", "", "published design", choices=tuple(PRESETS))
REFERENCE = Option("str", "", "published design on its own front end", choices=tuple(REFERENCES))
TEXT = Option("str", "", "text")

BASE = number(32, 4, 1024, "width of the stem")
MULTIPLIER = number(1.8, 0.5, 4.0, "width of a stage over that of the stage before")


def stride(doc: str, default: str, choices: Sequence[str] = STRIDES) -> Option:
    return Option("str", default, doc, choices=tuple(choices))


ENDS = ("stem", "head")
NO_PARENT = "none"


def parent_field(names: Sequence[str]) -> Field:
    """The key ``network.pretrained``; ``names`` are the pool's taggers that are fine-tuned."""
    doc = "fine-tuned tagger of the pool as which networks begin, with its front end, instead of at random"
    return Field(Option("str", NO_PARENT, doc, choices=(NO_PARENT, *names)))


def network_fields() -> dict[str, Field]:
    """The keys of ``network`` besides ``stages`` and the options of stems and heads, which are those registered now."""
    stem, head = (_end(role) for role in ENDS)
    return {
        "stem": replace(stem, required=True),
        "stem_stride": Field(stride("stride of the stem's last convolution (freq x time)", "2x2", STEM_STRIDES)),
        "base": Field(BASE, required=True),
        "multiplier": Field(MULTIPLIER),
        "head": head,
    }


def _end(role: str) -> Field:
    """The choice among the families of one end of the network; ``cp`` is short for ``cp_stem``."""
    names = tuple(families(role))
    default = "conv_head" if role == "head" else names[0]
    aliases = {name.removesuffix(f"_{role}"): name for name in names}
    return Field(Option("str", default, f"{role} family", choices=names), aliases=aliases)


def stage_fields() -> dict[str, Field]:
    """The keys of a stage besides its families' options; the block families are those registered now."""
    blocks = tuple(families("block"))
    return {
        "family": Field(Option("str", blocks[0], "block family", choices=blocks), required=True),
        "depth": Field(number(1, 1, 32, "blocks"), required=True),
        "width": Field(number(32, 1, 4096, "output width instead of base * multiplier^stage"), absent=True),
        "stride": Field(stride("stride of one block (freq x time)", "1x1")),
        "stride_at": Field(Option("str", "first", "the block with the stride", choices=("first", "last"))),
    }
