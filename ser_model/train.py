"""Training: a configuration and corpora in, a run folder with a checkpoint and its curves out.

Speakers are split by the configuration, never by chance. Every random choice follows from the seed, the epoch and the
place in it, so an interrupted run goes on where its last epoch ended and gives what an uninterrupted one gives.
Needs torch.
"""

import copy
import csv
import hashlib
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt
import torch
import yaml
from torch import Tensor, nn

from ser_model.augment import AugmentConfig, Augmenter
from ser_model.corpora import CORPORA, Clip, CorpusContents, clip_samples, trim_silence
from ser_model.errors import TeacherError, TrainingConfigError, TrainingRunError
from ser_model.evaluate import clip_segments, mean_by_clip, unweighted_average_recall
from ser_model.features import FeatureSpec, LogMel, ModelInput, Samples, dequantize, padded_length
from ser_model.fine_tuning import Ancestor, load_weights, read_ancestor
from ser_model.network import EmotionNetwork
from ser_model.taxonomy import EMOTIONS
from ser_model.teacher import EMBEDDING_SIZE, Encode, Teacher

CHECKPOINT_FILE: Final = "checkpoint.pt"
CONFIG_FILE: Final = "config.yaml"
CURVES_FILE: Final = "curves.csv"
RUN_FILE: Final = "run.yaml"

# Segments that are made together and sorted by length, so that a batch holds little padding.
_BATCHES_A_GROUP: Final = 8
_EPOCHS_A_DEVELOPMENT_CHECK: Final = 5
_MEASURED_AT_ONCE: Final = 32
# What a random generator is for: part of its seed, so that no two uses share their numbers.
_DRAW, _SEGMENT, _ORDER, _MIX = range(4)
_IN_YAML: Final[Mapping[Any, tuple[Any, str]]] = {
    str: (str, "text"),
    bool: (bool, "true or false"),
    int: (int, "a whole number"),
    float: ((int, float), "a number"),
    tuple: (list, "a list"),
}
"""What a value of a type is in a configuration file; of any other type it is a mapping."""


@dataclass(frozen=True, kw_only=True)
class CorpusSplit:
    """What a run does with one corpus.

    Attributes
    ----------
    clips_an_epoch
        Clips drawn for an epoch, as many of each emotion.
    development, test
        Speakers that training leaves out: for calibration, and for the final figures alone.
    """

    clips_an_epoch: int
    development: tuple[str, ...] = ()
    test: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """What a run learns from `ser_model.teacher.Teacher`.

    Attributes
    ----------
    labelled_by
        The corpus whose speakers it knows the emotions by.
    logits
        Weight, beside that of the labels, of the cross entropy with the teacher's probabilities (Hinton et al., 2015).
    embedding
        Weight of the squared distance to its embedding (Romero et al., 2015), foretold by a layer of training's own.
    """

    labelled_by: str
    logits: float
    embedding: float


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One model's training, read from its file in ``configs/``.

    Attributes
    ----------
    name, version
        Of the model.
    license, commercial_use
        Of its weights.
    seed
        Everything random follows from it.
    labels
        The model's emotions.
    features
        What it hears.
    corpora
        What it is trained on.
    measured_on
        The one of them that a cross-validation measures and calibrates by.
    epochs, batch_size
        Length of the schedule, and clips a step.
    learning_rate, weight_decay
        Highest learning rate of the cycle (Smith and Topin, 2019), and AdamW's decay.
    average_decay
        Of the exponential moving average of the weights, a step: the average is what is measured and exported
        (Polyak and Juditsky, 1992; Tarvainen and Valpola, 2017).
    label_smoothing
        Share of the target that is spread over the emotions that the corpus has.
    mixup_share, mixup_alpha
        Share of the batches that are mixed in pairs (Zhang et al., 2018), and the beta distribution's parameter.
    teacher
        What the network learns from beside the labels; None: nothing.
    augment
        What happens to clips.
    """

    name: str
    version: str
    license: str
    commercial_use: bool
    seed: int
    labels: tuple[str, ...]
    features: FeatureSpec
    corpora: Mapping[str, CorpusSplit]
    measured_on: str
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    average_decay: float
    label_smoothing: float
    mixup_share: float
    mixup_alpha: float
    teacher: TeacherConfig | None
    augment: AugmentConfig

    @classmethod
    def load(cls, path: Path) -> "TrainingConfig":
        """Read a configuration file.

        Raises
        ------
        TrainingConfigError
            If a key is missing or unknown, or a value is of another type or names what does not exist.
        """
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise TrainingConfigError(f"{path} cannot be read: {error}; expected a YAML file") from error
        return cls.from_dict(values)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainingConfig":
        """Return the configuration that `to_dict` gave; raises as `load` does."""
        _check("configuration", values, cls)
        splits = {}
        for name, split in values["corpora"].items():
            if name not in CORPORA:
                raise TrainingConfigError(f"corpus {name!r}; expected one of {sorted(CORPORA)}")
            _check(f"corpora.{name}", split, CorpusSplit)
            splits[name] = CorpusSplit(
                clips_an_epoch=split["clips_an_epoch"],
                development=tuple(map(str, split["development"])),
                test=tuple(map(str, split["test"])),
            )
        forbidding = [name for name in splits if not CORPORA[name].commercial_use]
        if values["commercial_use"] and forbidding:
            raise TrainingConfigError(
                f"commercial_use is true; the licences of {', '.join(forbidding)} do not allow it: expected false, or "
                "other corpora"
            )
        if values["measured_on"] not in splits:
            raise TrainingConfigError(f"measured_on {values['measured_on']!r}; expected one of {list(splits)}")
        if unknown := [label for label in values["labels"] if label not in EMOTIONS]:
            raise TrainingConfigError(f"labels {unknown}; expected some of {list(EMOTIONS)}")
        if (teacher := values["teacher"]) is not None:
            _check("teacher", teacher, TeacherConfig)
            if teacher["labelled_by"] not in splits:
                raise TrainingConfigError(
                    f"teacher.labelled_by {teacher['labelled_by']!r}; expected one of {list(splits)}"
                )
            teacher = TeacherConfig(**teacher)
        _check("augment", values["augment"], AugmentConfig)
        augment: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values["augment"].items()
        }
        return cls(
            **{
                **values,
                "labels": tuple(values["labels"]),
                "features": FeatureSpec.from_dict(values["features"]),
                "corpora": splits,
                "teacher": teacher,
                "augment": AugmentConfig(**augment),
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for YAML."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


@dataclass(frozen=True)
class Split:
    """The clips of a run, by use; no speaker is in two of them."""

    train: tuple[Clip, ...]
    development: tuple[Clip, ...]
    test: tuple[Clip, ...]


def split_clips(config: TrainingConfig, corpora: Mapping[str, CorpusContents]) -> Split:
    """Split the clips of emotions that the model has, by speaker, as the configuration says.

    Raises
    ------
    TrainingConfigError
        If the corpora are not those of the configuration, or it names a speaker that a corpus lacks.
    """
    if set(corpora) != set(config.corpora):
        raise TrainingConfigError(
            f"corpora given: {sorted(corpora)}; the configuration has {sorted(config.corpora)}: "
            "name each with --corpus NAME=FOLDER"
        )
    parts: dict[str, list[Clip]] = {"train": [], "development": [], "test": []}
    for name, split in config.corpora.items():
        speakers = {clip.speaker for clip in corpora[name].clips}
        if missing := sorted({*split.development, *split.test} - speakers):
            raise TrainingConfigError(f"{name} has no speakers {missing}; it has {sorted(speakers)}")
        if both := sorted(set(split.development) & set(split.test)):
            raise TrainingConfigError(f"{name}: speakers {both} are both for development and test")
        for clip in corpora[name].clips:
            if clip.emotion in config.labels:
                part = (
                    "development"
                    if clip.speaker in split.development
                    else "test"
                    if clip.speaker in split.test
                    else "train"
                )
                parts[part].append(clip)
    return Split(*(tuple(clips) for clips in parts.values()))


def draw_epoch(config: TrainingConfig, clips: Sequence[Clip], epoch: int) -> npt.NDArray[np.intp]:
    """Return the indices of an epoch's clips, shuffled: of each corpus as many of each emotion.

    A clip comes again only when all of its corpus and emotion have been drawn.
    """
    random = np.random.default_rng((config.seed, _DRAW, epoch))
    drawn: list[int] = []
    for name, split in config.corpora.items():
        labels = [label for label in config.labels if label in CORPORA[name].emotions]
        for label in labels:
            members = [i for i, clip in enumerate(clips) if clip.corpus == name and clip.emotion == label]
            wanted = split.clips_an_epoch // len(labels)
            if members:
                rounds = [random.permutation(members) for _ in range(-(-wanted // len(members)))]
                drawn.extend(np.concatenate(rounds)[:wanted])
    return random.permutation(np.array(drawn, dtype=np.intp))


@dataclass(frozen=True)
class Batch:
    """One step's input, and what is to be learned of it.

    Attributes
    ----------
    log_mel
        Decibels, ``[batch, frames, n_mels]``.
    targets
        What annotators chose, ``[batch, classes]``.
    possible
        The classes of each clip's corpus, ``[batch, classes]``.
    taught, embedding
        The teacher's lessons, ``[batch, classes]`` and ``[batch, EMBEDDING_SIZE]``; None without one.
    """

    log_mel: Tensor
    targets: Tensor
    possible: Tensor
    taught: Tensor | None
    embedding: Tensor | None


def pad_segments(segments: Sequence[ModelInput], spec: FeatureSpec) -> Tensor:
    """Return segments as decibels, float32 ``[segments, frames, n_mels]``, padded to the longest."""
    n_frames = padded_length(max(map(len, segments)), spec)
    padded = np.zeros((len(segments), n_frames, spec.n_mels), dtype=np.uint8)
    for row, segment in zip(padded, segments, strict=True):
        row[: len(segment)] = segment
    return torch.from_numpy(dequantize(padded, spec))


class EpochLoader:
    """Makes an epoch's batches, one group ahead of training in a thread of its own."""

    def __init__(
        self,
        config: TrainingConfig,
        clips: Sequence[Clip],
        samples: Sequence[Samples],
        noises: Sequence[Samples],
        teacher: Teacher | None = None,
    ) -> None:
        self._config = config
        self._teacher = teacher
        self._clips = clips
        self._samples = samples
        self._augment = Augmenter(config.augment, LogMel(config.features), noises)
        self._targets = torch.from_numpy(np.stack([clip.targets(config.labels) for clip in clips]))
        self._possible = torch.tensor(
            [[label in CORPORA[clip.corpus].emotions for label in config.labels] for clip in clips]
        )

    @property
    def n_batches(self) -> int:
        """Steps an epoch."""
        drawn = draw_epoch(self._config, self._clips, 0)
        return len(drawn) // self._config.batch_size

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield an epoch's batches; a last one that would not be full is left out."""
        size = self._config.batch_size
        drawn = draw_epoch(self._config, self._clips, epoch)
        drawn = drawn[: len(drawn) // size * size]
        starts = range(0, len(drawn), size * _BATCHES_A_GROUP)
        with ThreadPoolExecutor(1) as executor:
            groups = [drawn[start : start + size * _BATCHES_A_GROUP] for start in starts]
            pending = executor.submit(self._group, groups[0], epoch, 0)
            for number in range(len(groups)):
                ready = pending.result()
                if number + 1 < len(groups):
                    pending = executor.submit(self._group, groups[number + 1], epoch, number + 1)
                yield from ready

    def _group(self, indices: npt.NDArray[np.intp], epoch: int, number: int) -> list[Batch]:
        seed, rate_hz = self._config.seed, self._config.features.sample_rate_hz
        segments, lessons = [], []
        for place, index in enumerate(indices):
            random = np.random.default_rng((seed, _SEGMENT, epoch, number, place))
            samples = self._samples[index]
            piece = self._augment.piece(len(samples), random)
            segments.append(self._augment(samples[piece], random))
            if self._teacher:
                lessons.append(self._teacher.lesson(int(index), piece.start / rate_hz, piece.stop / rate_hz))
        by_length = sorted(range(len(segments)), key=lambda place: len(segments[place]))
        batches = []
        for start in range(0, len(by_length), self._config.batch_size):
            places = by_length[start : start + self._config.batch_size]
            chosen = torch.from_numpy(indices[places])
            taught = [lessons[place] for place in places] if lessons else None
            batches.append(
                Batch(
                    pad_segments([segments[place] for place in places], self._config.features),
                    self._targets[chosen],
                    self._possible[chosen],
                    torch.from_numpy(np.stack([lesson.probabilities for lesson in taught])) if taught else None,
                    torch.from_numpy(np.stack([lesson.embedding for lesson in taught])) if taught else None,
                )
            )
        order = np.random.default_rng((seed, _ORDER, epoch, number)).permutation(len(batches))
        return [batches[place] for place in order]


def masked_loss(logits: Tensor, targets: Tensor, possible: Tensor, smoothing: float) -> Tensor:
    """Return each clip's cross entropy over the classes that its corpus can have, ``[batch]``.

    Parameters
    ----------
    logits
        ``[batch, classes]``.
    targets
        Probabilities of the classes, ``[batch, classes]``: one class, or what several annotators chose.
    possible
        Which classes the clip's corpus has, bool ``[batch, classes]``.
    smoothing
        Share of the target that is spread over these classes.
    """
    log_probabilities = torch.log_softmax(logits.masked_fill(~possible, -1e9), dim=1)
    log_probabilities = log_probabilities.masked_fill(~possible, 0)
    of_truth = (targets * log_probabilities).sum(dim=1)
    mean = log_probabilities.sum(dim=1) / possible.sum(dim=1)
    return -(1 - smoothing) * of_truth - smoothing * mean


class Student(nn.Module):
    """The network and the layer that foretells the teacher's embedding, which training alone needs."""

    def __init__(self, config: TrainingConfig) -> None:
        super().__init__()
        self.network = make_network(config)
        self.foretell = nn.Linear(self.network.pooled_size, EMBEDDING_SIZE) if config.teacher else None

    def losses(self, relative: Tensor, batch: Batch, config: TrainingConfig) -> Callable[[Tensor], Tensor]:
        """Return what gives each row's loss, ``[batch]``, for the clips of these numbers as its truth."""
        network = self.network
        pooled = network.pool(relative)
        logits = network.classify_pooled(pooled)
        foretold = self.foretell(network.dropout(pooled)) if self.foretell else None

        def of(clips: Tensor) -> Tensor:
            loss = masked_loss(logits, batch.targets[clips], batch.possible[clips], config.label_smoothing)
            if config.teacher and batch.taught is not None and batch.embedding is not None and foretold is not None:
                taught = -(batch.taught[clips] * torch.log_softmax(logits, dim=1)).sum(dim=1)
                distance = (foretold - batch.embedding[clips]).square().mean(dim=1)
                loss = loss + config.teacher.logits * taught + config.teacher.embedding * distance
            return loss

        return of


def batch_loss(student: Student, batch: Batch, config: TrainingConfig, random: np.random.Generator) -> Tensor:
    """Return a batch's loss, for a share of the batches with pairs of segments mixed."""
    relative = student.network.relative(batch.log_mel)
    themselves = torch.arange(len(relative))
    if random.random() >= config.mixup_share:
        return student.losses(relative, batch, config)(themselves).mean()
    part = float(random.beta(config.mixup_alpha, config.mixup_alpha))
    other = torch.from_numpy(random.permutation(len(relative)))
    loss_of = student.losses(part * relative + (1 - part) * relative[other], batch, config)
    return (part * loss_of(themselves) + (1 - part) * loss_of(other)).mean()


def read_training_samples(clips: Sequence[Clip], spec: FeatureSpec) -> list[Samples]:
    """Return the clips' speech at the model's rate, silence at both ends cut, float32 each."""
    return [trim_silence(clip_samples(clip, spec.sample_rate_hz), spec.sample_rate_hz).copy() for clip in clips]


@torch.no_grad()
def segment_logits(network: nn.Module, segments: Sequence[ModelInput], spec: FeatureSpec) -> npt.NDArray[np.float32]:
    """Return the logits of segments, ``[shape=(n, classes)]``; those of one padded length go together."""
    network.eval()
    by_length: dict[int, list[int]] = {}
    for index, segment in enumerate(segments):
        by_length.setdefault(padded_length(len(segment), spec), []).append(index)
    logits: dict[int, npt.NDArray[np.float32]] = {}
    for indices in by_length.values():
        for start in range(0, len(indices), _MEASURED_AT_ONCE):
            batch = indices[start : start + _MEASURED_AT_ONCE]
            rows = network(pad_segments([segments[index] for index in batch], spec)).numpy()
            logits.update(zip(batch, rows, strict=True))
    return np.stack([logits[index] for index in range(len(segments))])


def clip_logits(
    network: nn.Module, clips: Sequence[Sequence[ModelInput]], spec: FeatureSpec
) -> npt.NDArray[np.float32]:
    """Return the logits of clips, the mean over each one's segments, ``[shape=(n, classes)]``."""
    by_segment = segment_logits(network, [piece for clip in clips for piece in clip], spec)
    return mean_by_clip(by_segment, [index for index, clip in enumerate(clips) for _ in clip])


def train(
    config: TrainingConfig,
    split: Split,
    noises: Sequence[Samples],
    run_folder: Path,
    report: Callable[[str], None],
    encode: Encode | None = None,
    start_from: Path | None = None,
) -> EmotionNetwork:
    """Train a network, from the run folder's checkpoint on where there is one.

    Parameters
    ----------
    config
        What to train.
    split
        The clips; those for test are not touched.
    noises
        Environmental noise at the model's rate.
    run_folder
        Gets configuration, version of the code, curves and checkpoint.
    report
        Called with a line of progress an epoch.
    encode
        Gives the teacher's view of a clip, where the configuration has a teacher.
    start_from
        A model's folder: the network begins with its weights (`ser_model.fine_tuning`), not with random ones.

    Raises
    ------
    TrainingRunError
        If the folder holds a run of another configuration or beginning, or the run may not start from that model.
    TeacherError
        If the configuration has a teacher and there is no `encode`, or it has too few speakers to learn from.
    """
    if config.teacher and encode is None:
        raise TeacherError("the configuration has a teacher; expected its weights: name their file with --teacher")
    ancestor = _read_ancestor(start_from, config, split) if start_from else None
    _start_run(config, ancestor, run_folder)
    teacher = _make_teacher(config, split.train, encode)
    torch.manual_seed(config.seed)
    loader = EpochLoader(config, split.train, read_training_samples(split.train, config.features), noises, teacher)
    development = clip_segments(split.development, config.features, "g711")
    truth = np.array([config.labels.index(clip.emotion) for clip in split.development])
    state = _TrainingState(config, config.epochs * loader.n_batches)
    done = state.resume(run_folder)
    if start_from and not done:
        state.begin_with(start_from, config.labels, next(loader.batches(0)).log_mel)
    if done:
        report(f"resuming after epoch {done}")
    started = time.monotonic()
    for epoch in range(done, config.epochs):
        epoch_started = time.monotonic()
        # What dropout draws follows from the epoch too, so that a resumed run repeats it.
        torch.manual_seed(config.seed * 100_003 + epoch)
        loss = _train_epoch(state, loader, config, epoch)
        uar = None
        if development and ((epoch + 1) % _EPOCHS_A_DEVELOPMENT_CHECK == 0 or epoch + 1 == config.epochs):
            predicted = clip_logits(state.average, development, config.features).argmax(axis=1)
            uar = unweighted_average_recall(truth, predicted)
        elapsed_s = time.monotonic() - started
        seconds = time.monotonic() - epoch_started
        _record_epoch(run_folder, epoch + 1, loss, state.learning_rate, uar, seconds)
        state.save(run_folder, epoch + 1)
        left_s = elapsed_s / (epoch + 1 - done) * (config.epochs - epoch - 1)
        report(
            f"epoch {epoch + 1}/{config.epochs}  loss {loss:.3f}"
            + (f"  development UAR {uar:.3f}" if uar is not None else "")
            + f"  {elapsed_s / 60:.1f} min, {left_s / 60:.1f} min left"
        )
    return state.average.eval()


def _read_ancestor(model_folder: Path, config: TrainingConfig, split: Split) -> Ancestor:
    held_back: dict[str, set[str]] = {}
    for clip in (*split.development, *split.test):
        held_back.setdefault(clip.corpus, set()).add(clip.speaker)
    return read_ancestor(model_folder, config.labels, config.features, config.commercial_use, held_back)


def _make_teacher(config: TrainingConfig, clips: Sequence[Clip], encode: Encode | None) -> Teacher | None:
    if config.teacher is None or encode is None:
        return None
    return Teacher(clips, [encode(clip) for clip in clips], config.labels, config.teacher.labelled_by, config.seed)


def make_network(config: TrainingConfig) -> EmotionNetwork:
    """Return the configuration's network, freshly initialised."""
    network = EmotionNetwork(len(config.labels), config.features.n_mels, config.features.min_db)
    # Convolutions of few channels are a quarter faster in this layout.
    return network.to(memory_format=torch.channels_last)


def load_run(run_folder: Path) -> tuple[TrainingConfig, EmotionNetwork, Mapping[str, Any]]:
    """Return a run's configuration, its averaged network as of the last epoch, and what its ``run.yaml`` says.

    Raises
    ------
    TrainingRunError
        If the folder holds no checkpoint, or one of another network than today's.
    """
    if not (run_folder / CHECKPOINT_FILE).is_file():
        raise TrainingRunError(f"no {CHECKPOINT_FILE} in {run_folder}; expected the folder of a training run")
    config = TrainingConfig.load(run_folder / CONFIG_FILE)
    network = make_network(config)
    state = torch.load(run_folder / CHECKPOINT_FILE, weights_only=True)
    try:
        network.load_state_dict(state["average"])
    except RuntimeError as error:
        raise TrainingRunError(
            f"the checkpoint in {run_folder} is of another network than this code's; expected one that it trained: use "
            f"the code that did, of which {RUN_FILE} names the commit"
        ) from error
    run = yaml.safe_load((run_folder / RUN_FILE).read_text(encoding="utf-8"))
    return config, network.eval(), {**run, "epochs_done": state["epoch"]}


class _TrainingState:
    """Everything that a step changes, and its checkpoint."""

    def __init__(self, config: TrainingConfig, n_steps: int) -> None:
        self.student = Student(config)
        self.average = copy.deepcopy(self.student.network)
        self._average_decay = config.average_decay
        self._optimizer = torch.optim.AdamW(
            self.student.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(self._optimizer, config.learning_rate, total_steps=n_steps)

    @property
    def learning_rate(self) -> float:
        """Of the next step."""
        return float(self._schedule.get_last_lr()[0])

    def step(self, loss: Tensor) -> None:
        """Change the weights by a batch's loss, and their average."""
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), 5.0)
        self._optimizer.step()
        self._schedule.step()
        # A short memory at first, so that what the weights were initialised with is soon forgotten.
        n_steps = self._schedule.last_epoch
        decay = min(self._average_decay, n_steps / (n_steps + 10))
        # Buffers too: statistics of the batch normalisation belong to the weights that they were taken with.
        for averaged, newest in zip(_float_state(self.average), _float_state(self.student.network), strict=True):
            averaged.lerp_(newest, 1 - decay)

    def begin_with(self, model_folder: Path, labels: Sequence[str], examples: Tensor) -> None:
        """Begin with a model's weights."""
        load_weights(self.student.network, model_folder, labels, examples)
        self.average.load_state_dict(self.student.network.state_dict())

    def resume(self, run_folder: Path) -> int:
        """Bring everything to the last checkpoint, where there is one, and return the epochs that are done."""
        path = run_folder / CHECKPOINT_FILE
        if not path.exists():
            return 0
        saved = torch.load(path, weights_only=True)
        for name, part in self._parts().items():
            part.load_state_dict(saved[name])
        return int(saved["epoch"])

    def save(self, run_folder: Path, epoch: int) -> None:
        """Replace the checkpoint as a whole: an interruption leaves the previous one."""
        part_path = run_folder / f"{CHECKPOINT_FILE}.part"
        torch.save({"epoch": epoch, **{name: part.state_dict() for name, part in self._parts().items()}}, part_path)
        part_path.replace(run_folder / CHECKPOINT_FILE)

    def _parts(self) -> dict[str, Any]:
        return {
            "student": self.student,
            "average": self.average,
            "optimizer": self._optimizer,
            "schedule": self._schedule,
        }


def _float_state(network: nn.Module) -> Iterator[Tensor]:
    return (value for value in network.state_dict().values() if value.is_floating_point())


def _train_epoch(state: _TrainingState, loader: EpochLoader, config: TrainingConfig, epoch: int) -> float:
    """Train for an epoch and return the mean loss."""
    state.student.train()
    random = np.random.default_rng((config.seed, _MIX, epoch))
    losses = []
    for batch in loader.batches(epoch):
        loss = batch_loss(state.student, batch, config, random)
        state.step(loss)
        losses.append(float(loss.detach()))
    return float(np.mean(losses))


def run_ancestor(run: Mapping[str, Any]) -> Ancestor | None:
    """Return what a run started from, by what its ``run.yaml`` says; None where it started from nothing."""
    return Ancestor.from_dict(run["started_from"]) if run.get("started_from") else None


def _start_run(config: TrainingConfig, ancestor: Ancestor | None, run_folder: Path) -> None:
    """Write down what is run, or refuse a folder of another run."""
    run_folder.mkdir(parents=True, exist_ok=True)
    config_path = run_folder / CONFIG_FILE
    if config_path.exists():
        begun = run_ancestor(yaml.safe_load((run_folder / RUN_FILE).read_text(encoding="utf-8")))
        if TrainingConfig.load(config_path) != config or begun != ancestor:
            raise TrainingRunError(
                f"{run_folder} holds a run of another configuration or --init; expected an empty folder or the same: "
                "choose another --run folder"
            )
        return
    run: dict[str, Any] = {"commit": code_version(), "torch": str(torch.__version__)}
    if ancestor:
        run["started_from"] = ancestor.to_dict()
    (run_folder / RUN_FILE).write_text(yaml.safe_dump(run), encoding="utf-8")
    # Last: a folder with a configuration is a run that has begun.
    config_path.write_text(yaml.safe_dump(config.to_dict(), sort_keys=False), encoding="utf-8")


def code_version() -> str:
    """Return the commit of this code, or, outside a commit, the hash of its sources."""
    folder = Path(__file__).parent
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],  # noqa: S607
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if described.returncode == 0 and not described.stdout.strip().endswith("-dirty"):
        return described.stdout.strip()
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.glob("*.py"))))
    return f"sources-{digest.hexdigest()[:12]}"


def _record_epoch(
    run_folder: Path, epoch: int, loss: float, learning_rate: float, uar: float | None, seconds: float
) -> None:
    path = run_folder / CURVES_FILE
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["epoch", "loss", "learning_rate", "development_uar_g711", "seconds"])
        shown = "" if uar is None else f"{uar:.4f}"
        writer.writerow([epoch, f"{loss:.5f}", f"{learning_rate:.3e}", shown, f"{seconds:.1f}"])


def _check(what: str, values: Any, kind: type) -> None:
    """Check that values have the keys of a dataclass, each with a value as YAML writes one of its type."""
    expected = get_type_hints(kind)
    found = set(values) if isinstance(values, Mapping) else set()
    if found != set(expected):
        raise TrainingConfigError(
            f"{what}: missing {sorted(set(expected) - found)}, unknown {sorted(map(str, found - set(expected)))}; "
            f"expected exactly {sorted(expected)}"
        )
    for name, hint in expected.items():
        value = values[name]
        wanted, in_words = _IN_YAML.get(get_origin(hint) or hint, (Mapping, "a mapping"))
        is_none = value is None and type(None) in get_args(hint)
        if not is_none and (not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool)):
            raise TrainingConfigError(f"{what}: {name} is {value!r}; expected {in_words}")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value
