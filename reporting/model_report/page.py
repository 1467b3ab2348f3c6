"""The page of the report on a model: docs/model/README.md, written from its figures alone. Computes nothing."""

import math
from collections.abc import Iterable, Sequence
from textwrap import fill

from reporting.model_report.figures import (
    CALL_S,
    CUSTOMER_SHARE,
    OUTBURST_S,
    PREVALENCES,
    AngerRule,
    Beside,
    CallRule,
    Interval,
    Recording,
    Report,
)
from ser_model.composed_calls import Rule
from ser_model.corpora import CORPORA
from ser_model.evaluate import Evaluation

_WIDTH = 118


def page(report: Report) -> str:
    """Return the page as Markdown."""
    sections = (
        _head(report),
        _conditions(report),
        _tasks(report),
        _anger(report),
        _calls(report),
        _recordings(report),
        _calibration(report),
        _priors(report),
        _speech(report),
        _corpora(report),
        _beside(report),
        _times(report),
    )
    return "\n\n".join(block for section in sections for block in section) + "\n"


def _text(*sentences: str) -> str:
    return fill(" ".join(sentences), _WIDTH, break_long_words=False, break_on_hyphens=False)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _with(value: float, interval: Interval) -> str:
    return f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"


def _head(report: Report) -> list[str]:
    eight = report.conditions["g711"]
    folds = [name for name in report.runs if not name.startswith("random")]
    missing = report.n_expected - len(folds)
    option, in_integers = (" INT8=1", ", in 8-bit integers as it ships") if report.precision == "int8" else ("", "")
    random = [name for name in report.runs if name not in folds]
    state = (
        f"All {report.n_expected} runs of the cross-validation are there."
        if missing <= 0
        else f"**{len(folds)} of {report.n_expected} runs: {', '.join(folds)}. What follows is of these alone, on "
        f"{len(eight.speakers)} of the corpus's speakers: not a final figure.**"
    )
    if random:
        state += f" Besides, of a random split: {', '.join(random)}."
    if report.unfinished:
        state += f" Not finished, so left out: {', '.join(report.unfinished)}."
    return [
        f"# {report.model}: what it is worth",
        _text(
            "Made by the following command from saved runs; no figure was typed by hand.",
            "In numbers: [figures.json](figures.json).",
        ),
        f"    make model-report RUNS=FOLDER CORPORA=FOLDER NOISE=FOLDER RECORDINGS=FOLDER{option}",
        _text(
            state,
            f"Each run is tested on speakers that it never heard ({len(eight.speakers)} RAVDESS actors, {eight.n} "
            "predictions: each clip once a seed), without a choice made on them: the network is that of the last of "
            f"{report.epochs} epochs{in_integers}, temperature and conformal threshold are fitted on what the other "
            "folds' runs made of their test speakers. UAR is the mean recall of the classes; intervals are 95%, over "
            "draws of whole speakers, the seeds' predictions together. Clips are brought to 8 kHz, cut to their "
            "speech, sent through the condition (g711 where none is named) and cut into segments of at most 3 s. "
            "All of it is acted speech: on real calls "
            "nothing here was measured but what is said so.",
        ),
        _text(
            f"**In short**: UAR {_with(eight.uar, eight.uar_interval)} on eight emotions through G.711, moods "
            f"{eight.mood_uar:.3f}; expected calibration error {eight.ece:.3f}.",
            f"More than 3 points below clean: {', '.join(report.falls)}."
            if report.falls
            else "No condition is more than 3 points below clean.",
        ),
    ]


def _conditions(report: Report) -> list[str]:
    results = report.conditions
    seeds = sorted(report.by_seed)
    rows = [
        [
            name,
            *(f"{report.by_seed[seed][name].uar:.3f}" for seed in seeds),
            _with(result.uar, result.uar_interval),
            f"{result.accuracy:.3f}",
            f"{result.macro_f1:.3f}",
            f"{result.mood_uar:.3f}",
            f"{result.ece:.3f}",
            f"{report.calibration.ece_of_a_run[name]:.3f}",
            "" if name == "clean" else f"{result.unchanged:.1%}",
        ]
        for name, result in results.items()
    ]
    shown = results["g711"]
    per_class = [
        [label, str(found.n), f"{found.precision:.2f}", f"{found.recall:.2f}", f"{found.f1:.2f}"]
        for label, found in shown.per_class.items()
    ]
    speakers = [
        f"seed {seed}: {len(report.by_seed[seed]['g711'].speakers)} speakers, ECE in g711 "
        f"{report.by_seed[seed]['g711'].ece:.3f}"
        for seed in seeds
    ]
    return [
        "## Cross-validation, in every condition",
        "![UAR by condition](conditions.png)",
        _table(
            [
                "condition",
                *(f"UAR, seed {seed}" for seed in seeds),
                "UAR, all runs (95%)",
                "accuracy",
                "macro F1",
                "mood UAR",
                "ECE",
                "ECE of a run",
                "named as clean",
            ],
            rows,
        ),
        _text(
            f"{'; '.join(speakers)}. ECE is of all predictions together; that of a run is the mean over the runs, each "
            "by itself: errors of runs can cancel out, and a run has few clips. Named as clean: the share of the clips "
            "that are called what they are called in clean. The noise of noise20 and noise10 is "
            f"{report.noise}.",
        ),
        "![confusion](confusion.png)",
        _table(["emotion (g711)", "predictions", "precision", "recall", "F1"], per_class),
    ]


def _tasks(report: Report) -> list[str]:
    return [
        "## Fewer classes, the same clips",
        _table(
            ["task", "classes", "chance", "UAR (95%)"],
            [
                [task.name, str(task.n_classes), f"{1 / task.n_classes:.3f}", _with(task.uar, task.interval)]
                for task in report.tasks
            ],
        ),
        _text(
            "Where a class is left out, so are its clips, and the other probabilities are brought to sum 1. Moods are "
            "named by the sums of their emotions' probabilities; surprised clips have none."
        ),
    ]


def _anger(report: Report) -> list[str]:
    found = report.anger
    return [
        "## Can an alert be believed? Segments",
        "![precision by recall](anger.png)",
        _table(
            ["rule", "recall", "false alarms", *(f"precision where {p:.0%} is angry" for p in PREVALENCES)],
            [
                [
                    rule.name,
                    f"{rule.recall:.2f}",
                    f"{rule.false_rate:.2%}",
                    *(_precision(rule, prevalence) for prevalence in PREVALENCES),
                ]
                for rule in found.rules
            ],
        ),
        _text(
            f"Of {found.n_angry} predictions of angry segments and {found.n_others} of others; area under the ROC "
            "curve "
            f"{_with(found.auc, found.auc_interval)}. The others count in the proportions of "
            "`ser_model.priors.CALL_PRIORS`, "
            "mostly neutral speech. These proportions are assumed, measured nowhere. The thresholds of the last two "
            "rules "
            "were read off these same clips, so they flatter a little."
        ),
    ]


def _precision(rule: AngerRule, prevalence: float) -> str:
    value, (low, high) = rule.precision[prevalence], rule.intervals[prevalence]
    return "none flagged" if math.isnan(value) else f"{value:.2f} ({low:.2f} to {high:.2f})"


def _rule(rule: CallRule, values: Rule) -> str:
    second = f"{rule.second_name}{values.second:.2f}"
    return second if rule.first_name is None else f"{rule.first_name}{values.first:.2f} and {second}"


def _calls(report: Report) -> list[str]:
    found = report.calls
    n_real = sum(row.anger_peak is not None for row in report.recordings)
    speech_s = CALL_S * CUSTOMER_SHARE
    return [
        "## Can an alert be believed? Calls",
        _text(
            f"Calls of {CALL_S:.0f} s with {speech_s:.0f} s of customer speech (the length and the share of the "
            "demonstration "
            "call that speed is measured on), composed of one unseen actor's segments: calm ones of neutral and calm "
            "clips "
            f"alone, as often as `CALL_PRIORS` has them; escalating ones, whose last {OUTBURST_S:.0f} s of speech are "
            "angry; "
            f"recovering ones, whose first {OUTBURST_S:.0f} s are angry or sad. {found.n_calm} calls of each kind, of "
            f"{found.n_speakers} actors; all calm speech comes from {found.n_calm_clips} clips, so the intervals count "
            "more than the numbers.",
        ),
        "![anger peaks](calls.png)",
        _table(
            ["in calm calls", "share (95%)", "per 100 hours of calls"],
            [
                [
                    flags.name,
                    f"{flags.share:.1%} ({flags.interval[0]:.1%} to {flags.interval[1]:.1%})",
                    f"{flags.per_100_hours:.0f}",
                ]
                for flags in found.false_flags
            ],
        ),
        _text(
            "In use (`schemas/definitions.py`), and as these calls would set it: the thresholds that find the most "
            "calls at "
            "no more than one false flag in 50 calm calls. The figures of thresholds found are of calls of a speaker "
            "that "
            "had no part in finding them. Nothing was changed by this report."
        ),
        _table(
            ["flag", "", "thresholds", "calm calls flagged", "calls found", "real recordings flagged"],
            [
                row
                for rule in found.rules
                for row in (
                    [
                        rule.name,
                        "in use",
                        _rule(rule, rule.used),
                        f"{rule.used_false:.1%} ({rule.used_false_interval[0]:.1%} to "
                        f"{rule.used_false_interval[1]:.1%})",
                        f"{rule.used_detected:.0%} ({rule.used_detected_interval[0]:.0%} to "
                        f"{rule.used_detected_interval[1]:.0%})",
                        f"{rule.used_real} of {n_real}",
                    ],
                    [
                        "",
                        "measured",
                        _rule(rule, rule.found),
                        f"{rule.found_false:.1%}",
                        f"{rule.found_detected:.0%}",
                        f"{rule.found_real} of {n_real}",
                    ],
                )
            ],
        ),
        _text(
            "Found are escalating calls by escalated and sustained_anger, recovering ones by recovered. The real "
            "recordings "
            "(below, by the shipped model) are the check: acted neutral speech is calmer than customers are, so a "
            "threshold "
            "that acted calls would allow is too low where it flags them."
        ),
    ]


def _recordings(report: Report) -> list[str]:
    if not report.recordings:
        return ["## Real recordings", "None were given (`--recordings`)."]
    scored = [row for row in report.recordings if row.failed is None]
    segments, angry = sum(row.n_segments for row in scored), sum(row.n_angry for row in scored)
    hours = sum(row.duration_s for row in scored) / 3600
    return [
        "## Real recordings",
        _text(
            f"What the shipped model ({report.shipped}) makes of demonstration calls: the customer's side, or both "
            "where "
            "they are in one channel. Nobody labelled them; they sound businesslike, so what is flagged is taken to be "
            f"false. {angry} of {segments} segments are called angry, {angry / hours * 100:.0f} per 100 hours of "
            "calls; "
            f"{hours * 60:.0f} minutes in all, so this is an impression, not a rate."
        ),
        _table(
            ["recording", "channels", "classified speech", "called angry", "anger_peak", "mood_change", "flags"],
            [_recording(row) for row in report.recordings],
        ),
    ]


def _recording(row: Recording) -> list[str]:
    if row.failed is not None:
        return [row.name, "", "", "", "", "", f"not scored: {row.failed}"]
    return [
        row.name,
        row.kind,
        f"{row.speech_s:.0f} s, {row.n_segments} segments",
        str(row.n_angry),
        "" if row.anger_peak is None else f"{row.anger_peak:.2f}",
        "" if row.mood_change is None else f"{row.mood_change:+.2f}",
        ", ".join(row.flags) or "none",
    ]


def _calibration(report: Report) -> list[str]:
    found, eight = report.calibration, report.conditions["g711"]
    temperatures = found.temperatures.values()
    return [
        "## Are the probabilities right?",
        "![reliability](reliability.png)",
        _text(
            "Temperatures, fitted for each run on what the other folds' runs made of their test speakers: "
            f"{min(temperatures):.2f} to {max(temperatures):.2f}. Expected calibration error on the test speakers "
            f"{found.ece_before:.3f} without them, {_with(eight.ece, eight.intervals['ece'])} with them. Without the "
            f"quarter of the clips that it is least sure of, accuracy is {eight.accuracy_of_the_certain:.3f} instead "
            f"of {eight.accuracy:.3f}."
        ),
        _text(
            "Sets that are to hold the true emotion in 90% of the cases, their threshold fitted likewise, hold it in "
            f"{found.coverage:.1%}, in {found.worst_class:.1%} of the worst emotion's clips, and name "
            f"{found.set_size:.1f} emotions on average."
        ),
    ]


def _priors(report: Report) -> list[str]:
    found = report.calibration
    return [
        "## Where most speech is neutral",
        _text(
            "Probabilities are right for the mix that they were calibrated on, balanced acted clips. With the clips "
            "weighted "
            "to `CALL_PRIORS`, an assumption, ECE is "
            f"{found.ece_at_call_priors:.3f} as they are and {found.ece_at_call_priors_moved:.3f} moved to these "
            "priors. "
            "Tried without labels: each run's test clips drawn to that mix, the mix estimated from what the run says "
            "of "
            "them (EM: Saerens et al. 2002; black box shift: Lipton et al. 2018, with the confusions of the two "
            "development speakers). The pipeline moves nothing."
        ),
        _table(
            ["mix", "distance to the true one", "share of angry", "ECE", "accuracy"],
            [
                [row.name, f"{row.distance:.2f}", f"{row.angry:.1%}", f"{row.ece:.3f}", f"{row.accuracy:.3f}"]
                for row in found.priors
            ],
        ),
    ]


def _speech(report: Report) -> list[str]:
    return [
        "## By sex and by length",
        "![by sex and length](speech.png)",
        _table(
            ["speech", "predictions", "UAR (95%)"],
            [
                *(
                    [f"segments of {row.from_s:g} to {row.to_s:g} s", str(row.n), _with(row.uar, row.interval)]
                    for row in report.lengths
                ),
                *(
                    [f"whole clips, {sex} speakers", str(result.n), _with(result.uar, result.uar_interval)]
                    for sex, result in report.by_sex.items()
                ),
            ],
        ),
        _text("Segments: the test clips' speech cut into equal parts of such a length, each judged by itself."),
    ]


def _corpora(report: Report) -> list[str]:
    rows = []
    if report.emodb is not None:
        rows.append(["EmoDB", "trained on, these speakers left out", *_corpus(report.emodb)])
    rows += [
        [CORPORA[name].title, "never trained on", *_corpus(result)] for name, result in report.other_corpora.items()
    ]
    if not rows:
        return ["## Other corpora", "None were given."]
    return [
        "## Other corpora",
        "![other corpora](corpora.png)",
        _table(["corpus", "", "speakers", "predictions", "emotions", "UAR (95%)", "mood UAR", "ECE"], rows),
        _text(
            "Each on its own labels, as far as the model has them: the others' probabilities are left out and the rest "
            "brought to "
            "sum 1. Corpora that were never trained on are heard by the runs of the first seed. TESS is for training "
            "alone: two "
            "speakers and one sentence."
        ),
    ]


def _corpus(result: Evaluation) -> list[str]:
    return [
        str(len(result.speakers)),
        str(result.n),
        f"{len(result.labels)} (chance {1 / len(result.labels):.3f})",
        _with(result.uar, result.uar_interval),
        f"{result.mood_uar:.3f}",
        f"{result.ece:.3f}",
    ]


def _beside(report: Report) -> list[str]:
    random = [row for row in report.beside if "random" in row.name]
    return [
        "## Beside it",
        "![baselines](beside.png)",
        _table(
            ["what", "how", "speakers", "predictions", "UAR (95%)"],
            [_compared(row) for row in report.beside],
        ),
        _text(
            "The support vector machines choose kernel and cost on speakers of their training part. "
            + (
                "The model before is measured on its own test speakers, since it was trained on the others."
                if any(row.name.endswith("before") for row in report.beside)
                else "No model before is given (`PREVIOUS=folder`)."
            ),
            "A random split puts other clips of the same speakers and sentences into training: what it adds is "
            "knowledge "
            "of these speakers."
            if random
            else "No run of a random split is there (`--folds random`).",
        ),
    ]


def _compared(row: Beside) -> list[str]:
    return [row.name, row.protocol, str(row.n_speakers), str(row.n), _with(row.uar, row.interval)]


def _times(report: Report) -> list[str]:
    parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in report.seconds.items())
    trained = report.training_s
    training = (
        f"Training took {sum(trained.values()) / 3600:.2f} h for {len(trained)} of {len(report.runs)} runs"
        + ("" if len(trained) == len(report.runs) else "; the others did not write it down")
        if trained
        else "The runs did not write down how long training took"
    )
    return [
        "## How long it took",
        _text(
            f"This report: {sum(report.seconds.values()) / 60:.1f} min ({parts}); what was computed once is kept "
            "beside the "
            f"runs and not computed again. {training}. Trained by the code {', '.join(report.commits)}."
        ),
    ]
