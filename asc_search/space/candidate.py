"""Candidate: one point of the space, everything a training needs, as a value that round-trips through JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.nets.network import grain, shrink
from asc_search.nets.spec import NetSpec
from asc_search.space.pruning import Pruning

Groups = tuple[tuple[str, tuple[str, ...]], ...]  # groups of classes: (name, its classes)


@dataclass(frozen=True)
class Training:
    """How a network is trained: optimiser, learning rate over time, and the augmentations with their strengths.

    ``crops_per_clip`` windows are drawn from each clip an epoch. The augmentations, in the order they are applied; each
    of their strengths at 0 is none, each ``_p`` is the probability with which a window gets it:

    * On the waveform: a device response with ``response_p``, rescaled as ``response_scaling`` says (``none``, CP-JKU;
      ``range``, GZHU); where nothing else concerns the waveform, ``response_path`` ``auto`` takes those whose measured
      error is small as gains on kept log-mels, ``exact`` none. Time stretch by a rate within ``stretch`` of 1; a roll by
      up to ``roll_s`` seconds, by whole frames of the input where nothing concerns the waveform; a shift by up to
      ``shift_s`` seconds, silence entering; gain within ``gain_db``.
    * On mel filters: the lower edge raised by less than ``jitter_fmin_hz``, the upper one moved by up to half of
      ``jitter_fmax_hz`` (CP-JKU: 1 and 1000); the front end itself is the middle, which is evaluated and exported.
    * On log-mels: spectrum correction of device a's windows to other devices with ``correction_p``, with
      ``correction_per_batch`` of all of a batch to the same recording or of none (SCUT, 12/13).
    * On the input: one band of up to ``freq_mask`` mel bands; ``time_stripes`` of up to ``time_mask`` frames and
      ``freq_stripes`` of up to ``freq_width`` mel bands, each way with ``stripes_p``, of silence or with ``fill_mean`` of
      the window's mean (the same where the front end standardises); Freq-MixStyle with ``mixstyle_p`` for a batch and
      Beta(``mixstyle_alpha``); mixup with Beta(``mixup_alpha``), of whole batches up to the share ``mixup_full_until``
      of the training and of half of each afterwards, with ``mixup_one_lambda`` one lambda a batch (both SCUT).

    What concerns log-mels is left out on raw waveforms. Validation and test windows get none of all this.

    ``optimizer`` is one of ``adamw``, ``adam``, ``amsgrad``, ``radam``, ``sgd`` (Nesterov, with ``momentum``).
    ``schedule`` is the way ``lr`` falls (``cosine``, ``linear``, ``steps``, ``inverse``, ``constant``), or a published
    schedule by name, which sets all that follows: the shares ``warmup`` (rising as ``ramp`` says, ``linear`` or
    ``exponential``), ``hold`` and ``fall`` (0: all that is left) of the epochs, and the share of ``lr`` it falls to
    (``steps``: at each step), ``final_lr``.
    ``grad_clip`` bounds the gradient's norm, 0 for not; ``ema_decay`` averages the weights that are evaluated, 0 for not;
    ``label_smoothing`` is the share of a hard label spread over all classes; ``precision`` is that of the forward pass:
    ``fp32``, ``bf16``, or ``fp16`` (on the CPU: fp32).
    """

    lr: float = 5e-3
    weight_decay: float = 1e-4
    batch: int = 64
    warmup: float = 0.1
    crops_per_clip: int = 1
    roll_s: float = 0.1
    roll_p: float = 1.0
    shift_s: float = 0.0
    shift_p: float = 1.0
    freq_mask: int = 48
    freq_stripes: int = 2
    freq_width: int = 0
    mixstyle_p: float = 0.4
    mixstyle_alpha: float = 0.3
    mixup_alpha: float = 0.0
    time_stripes: int = 2
    time_mask: int = 0
    stripes_p: float = 1.0
    fill_mean: bool = False
    mixup_full_until: float = 1.0
    mixup_one_lambda: bool = False
    response_p: float = 0.0
    response_scaling: str = "none"
    response_path: str = "auto"
    stretch: float = 0.0
    stretch_p: float = 1.0
    gain_db: float = 0.0
    gain_p: float = 1.0
    jitter_fmin_hz: int = 0
    jitter_fmax_hz: int = 0
    correction_p: float = 0.0
    correction_per_batch: bool = False
    optimizer: str = "adamw"
    momentum: float = 0.9
    schedule: str = "cosine"
    ramp: str = "linear"
    hold: float = 0.0
    fall: float = 0.0
    final_lr: float = 0.0
    grad_clip: float = 5.0
    ema_decay: float = 0.0
    label_smoothing: float = 0.0
    precision: str = "fp32"


@dataclass(frozen=True)
class Distillation:
    """How a network is taught; ``teachers`` is the drawn subset, empty for cross-entropy alone.

    ``reduction`` ``batchmean``: loss = ``weight`` * CE + (1 - ``weight``) * T^2 * KL(teachers || student), T =
    ``temperature``; ``mean``: CE + ``strength`` * KL averaged over the classes too (``losses.distillation``). Several
    teachers speak by the mean of their ``logits`` or of their ``probabilities``, or their KL are summed (``average``:
    ``sum``, Seoul 2019), each counting by its ``shares``: ``equal``, or fitted on the validation part, ``learned`` or
    ``by_device`` (``train.shares``). ``features`` is the weight of predicting the teachers' embeddings from the student's
    pooled features, through a layer that is thrown away; 0 for none. ``mixed`` is the share of an epoch's windows that are
    mixtures of two, which the teachers have heard as such and whose label is that of both, in their shares.

    ``peers`` is the drawn subset of larger networks that learn beside the student on the same batches, each from the labels
    and from the others (deep mutual learning, ``losses.mutual_learning``): ``mutual`` is the weight of the mean divergence
    of the others, softened by ``temperature``. After the share ``mutual_until`` of the epochs they learn no more: all of them,
    or ``mutual_teacher`` alone, teach the student what they hear in the same batch (KD after mutual learning, GZHU). The
    student alone is measured, priced and deployed.

    ``class_share`` is, where classes are learnt beside groups of them, the share of the classes in the scores
    (``groups.Fusion``).
    """

    teachers: tuple[str, ...] = ()
    temperature: float = 2.0
    weight: float = 0.5
    reduction: str = "batchmean"
    strength: float = 50.0
    average: str = "logits"
    shares: str = "equal"
    features: float = 0.0
    mixed: float = 0.0
    peers: tuple[str, ...] = ()
    mutual: float = 1.0
    mutual_until: float = 1.0
    mutual_teacher: str = ""
    class_share: float = 0.8

    @property
    def by_others(self) -> bool:
        """Whether any network teaches it: a teacher or a peer."""
        return bool(self.teachers or self.peers)


@dataclass(frozen=True)
class Candidate:
    """Front end, network as first trained, pruning, weight type, training and distillation.

    With ``groups`` of the classes the network's last layer has outputs for these, too, after those for the classes. They
    are a second task (``train.groups``), whose gradient meets the first's by PCGrad. Teachers and peers know classes only.

    ``parent`` names the teacher as which the network begins: a fine-tuned tagger, whose layers it then has; empty for none.
    """

    frontend: FrontEnd
    network: NetSpec
    weight_type: str = "fp16"
    pruning: Pruning = field(default_factory=Pruning)
    training: Training = field(default_factory=Training)
    distillation: Distillation = field(default_factory=Distillation)
    groups: Groups = ()
    parent: str = ""

    @property
    def deployed(self) -> NetSpec:
        """The network after pruning: what is priced, exported and run."""
        return self._pruned(1.0)

    @property
    def stages(self) -> tuple[NetSpec, ...]:
        """The network after each step of its pruning, as deployed at last; empty where nothing is pruned.

        Raises:
            NetworkError: a step leaves nothing of a width.
        """
        if not self.pruning.removes:
            return ()
        return tuple(self._pruned(share) for share in self.pruning.shares(self.network.layers[0].out))

    def _pruned(self, share: float) -> NetSpec:
        if not self.pruning.removes:
            return self.network
        return shrink(self.network, partial(self.pruning.kept, share=share, grain=grain(self.network)))

    def describe(self) -> str:
        """The candidate in words, for tables and hover texts."""
        blocks = [f"{layer.family} {layer.out}" for layer in self.network.layers[:-1]]
        pruned = self.pruning.describe()
        plan = self.distillation
        taught = f"T {plan.temperature:.2g}, weight {plan.weight:.2g}" if plan.teachers else "no teacher"
        taught += f", features {plan.features:.2g}" if plan.teachers and plan.features else ""
        taught += f", {plan.mixed:.0%} mixtures" if plan.mixed else ""
        if plan.peers:
            taught += f", beside {', '.join(plan.peers)} (T {plan.temperature:.2g}, mutual {plan.mutual:.2g})"
            taught += (
                f" for {plan.mutual_until:.0%} of the epochs, then taught by them" if plan.mutual_until < 1 else ""
            )
        if self.groups:
            taught += f", {len(self.groups)} groups beside the classes (share {plan.class_share:.2g})"
        begun = f"begun as {self.parent}; " if self.parent else ""
        built = f"{' - '.join(blocks)}{pruned and f', {pruned}'}"
        return f"{begun}{self.frontend.mels} mels, hop {self.frontend.hop}; {built}; {taught}"

    def to_json(self) -> dict[str, Any]:
        return {
            "frontend": self.frontend.to_json(),
            "network": self.network.to_json(),
            "weight_type": self.weight_type,
            "pruning": asdict(self.pruning),
            "training": asdict(self.training),
            "distillation": {
                **asdict(self.distillation),
                "teachers": list(self.distillation.teachers),
                "peers": list(self.distillation.peers),
            },
            "groups": [[name, list(members)] for name, members in self.groups],
            **({"parent": self.parent} if self.parent else {}),
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Candidate:
        plan = data["distillation"]
        members = {"teachers": tuple(plan["teachers"]), "peers": tuple(plan.get("peers", ()))}
        return Candidate(
            frontend=FrontEnd.from_json(data["frontend"]),
            network=NetSpec.from_json(data["network"]),
            weight_type=data["weight_type"],
            pruning=Pruning(**data["pruning"]),
            training=Training(**data["training"]),
            distillation=Distillation(**{**plan, **members}),
            groups=tuple((name, tuple(inside)) for name, inside in data.get("groups", ())),
            parent=data.get("parent", ""),
        )

    def digest(self) -> str:
        """Short hash of the whole candidate: equal candidates, equal digest."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:12]
