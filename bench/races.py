"""The races of `make bench`: contestants, jobs and goals."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from table import Goal

SCORED = 20  # number of epochs for comparing the contestants' losses
NOTEBOOK, TEMPLATE, EAGER = "notebook loop", "Lightning as the template", "torch in memory"
NATIVE, AUTOGRAD = "mlrun native", "mlrun autograd"
SKORCH, KERAS, SCAN = "skorch", "Keras 3 on JAX", "JAX jit + scan"
OURS, LIMIT = "mlrun's kernel", "specialised kernel"
PEAK = "matrix product"  # of 768 x 768 numbers on one thread: the peak speed of the processor


@dataclass(frozen=True)
class Entry:
    """A contestant: a script in bench/peers or a command line; each heat is a process."""

    label: str
    script: str
    epochs: int = 1  # times are scaled to one step; slow contestants run few epochs
    options: Sequence[str] = ()
    threads: int | None = 1  # of torch; None: the contestant's default
    heats: int = 99  # maximum number; lower for slow contestants


@dataclass(frozen=True)
class Race:
    """Contestants that take turns, and the settings of their table."""

    part: str  # for --only
    title: str
    job: str
    entries: Sequence[Entry]
    baseline: str
    goals: Sequence[Goal] = ()
    scored: int = 0  # number of epochs for comparing losses; 0: contestants do different work
    busy: bool = False  # another process keeps the second core busy
    unit: tuple[float, str] = (1e-6, "µs per step")
    note: str = ""


def peers(fast: int, slow: int, *, cnn: bool = False) -> list[Entry]:
    """Return the contestants that can train any job, with epochs for fast and slow ones."""
    threads = None if cnn else 1
    entries = [
        Entry(NOTEBOOK, "notebook", slow),
        Entry(TEMPLATE, "with_lightning", slow, ["--template"]),
        Entry("Lightning bare", "with_lightning", slow),
        Entry(SKORCH, "with_skorch", slow),
        Entry(KERAS, "with_keras", slow),
        Entry(EAGER, "eager", slow),
        Entry(AUTOGRAD, "with_mlrun", slow, ["--engine=autograd"]),
    ]
    if not cnn:
        entries += [
            Entry(SCAN, "with_jax", fast),
            Entry(NATIVE, "with_mlrun", fast, ["--engine=native"]),
        ]
    return [replace(entry, threads=threads) for entry in entries]


def few(entries: Sequence[Entry]) -> list[Entry]:
    """Drop contestants whose imports take longer than the heat, to save time."""
    return [e for e in entries if e.label not in (TEMPLATE, SKORCH, KERAS)]


COVID = Race(
    "covid",
    "The covid job: 2160 × 117 rows, batches of 256, 117-16-8-1",
    "covid",
    peers(1000, 30),
    NOTEBOOK,
    [
        Goal(NATIVE, NOTEBOOK, 30),
        Goal(NATIVE, TEMPLATE, 90),
        Goal(NATIVE, SKORCH, 35),
        Goal(NATIVE, KERAS, 20),
        Goal(NATIVE, SCAN, 1),
    ],
    scored=SCORED,
)
KERNELS = [
    Race(
        "kernel",
        f"The kernel alone, {job}: without validation, logging, checkpoints",
        job,
        [Entry("kernels", "kernels", epochs, threads=1)],
        LIMIT if job == "covid" else OURS,
        [Goal(OURS, LIMIT, 1 / 1.3)] if job == "covid" else [],
    )
    for job, epochs in (
        ("covid", 50),
        ("phone_price", 20),
        ("mnist_mlp_32", 2),
        ("mnist_mlp_128", 2),
    )
]
WHOLE = Race(
    "whole",
    "The complete covid job: 3000 epochs, from the command line to the last file",
    "covid",
    [
        Entry("notebook script", "notebook", 60),
        Entry("mlrun command", "with_mlrun", 3000, ["--engine=native"]),
    ],
    "notebook script",
    [Goal("mlrun command", "notebook script", 8), Goal("mlrun command", "notebook script", 12)],
    unit=(1 / 27_000, "s"),
    note="The notebook runs 60 epochs; the time of its epochs, but not of its start, is multiplied "
    "by 50.",
)
PHASES = Race(
    "phases",
    "Where the time goes",
    "covid",
    [Entry("phases", "phases", 3000, threads=None)],
    "total",
    unit=(1 / 26_991, "s"),
    note="Measured from the start of the process. A kernel thread computes while Python does "
    "everything else; the waiting time is the remainder of its work.",
)
MEMBERS_PHASES = replace(
    PHASES,
    part="phases_of_members",
    title="Where the time of 64 members goes, 50 epochs each",
    entries=[Entry("phases", "phases", 50, ["--members=64"], threads=None)],
    unit=(1 / 441, "s"),
    note="While Python does everything else, one thread computes epochs of other members; during "
    "the waiting time both cores compute.",
)
OTHERS = [
    Race("phone_price", "The phone_price job: 1600 × 20 rows, batches of 64, 20-128-256-4",
         "phone_price", peers(100, 21), NOTEBOOK, [Goal(NATIVE, SCAN, 1)], scored=SCORED),
    Race("mnist", "mnist, 784-256-10, batches of 32 (10,000 images)", "mnist_mlp_32",
         few(peers(4, 2)), NOTEBOOK, [Goal(NATIVE, NOTEBOOK, 12), Goal(NATIVE, EAGER, 1)],
         scored=2),
    Race("mnist", "mnist, 784-256-10, batches of 128 (10,000 images)", "mnist_mlp_128",
         peers(4, 2), NOTEBOOK, [Goal(NATIVE, NOTEBOOK, 12), Goal(NATIVE, EAGER, 1)], scored=2),
    Race("cnn", "mnist, convolutions (32, 64), 128 hidden, batches of 128", "mnist_cnn",
         few(peers(2, 2, cnn=True)), NOTEBOOK, [Goal(AUTOGRAD, EAGER, 1)], scored=2,
         note="Each contestant uses its default number of threads."),
    Race("loading", "Loading the batches of mnist, without training", "mnist_cnn",
         [Entry("Dataset + DataLoader", "notebook", 3, ["--loading"]),
          Entry("in memory, as mlrun", "eager", 10, ["--loading"])],
         "Dataset + DataLoader", [Goal("in memory, as mlrun", "Dataset + DataLoader", 5)]),
]  # fmt: skip
MEMBERS = Race(
    "members",
    "64 covid configurations, 50 epochs each: time per step of one configuration",
    "covid",
    [
        Entry("one after another, torch in memory", "eager", 50),
        Entry(
            "Hydra multirun, notebook",
            "sweep",
            50,
            ["--with=hydra_notebook", "--trials=2"],
            heats=2,
        ),
        Entry(
            "Hydra multirun, Lightning",
            "sweep",
            20,
            ["--with=hydra_lightning", "--trials=2"],
            heats=2,
        ),
        Entry("joblib, all cores", "sweep", 50, ["--with=joblib", "--trials=8"]),
        Entry("Optuna, random", "sweep", 50, ["--with=optuna", "--trials=4"]),
        Entry("Ray Tune", "sweep", 50, ["--with=ray", "--trials=8"], heats=1),
        Entry("JAX vmap, 64", "with_jax", 50, ["--members=64"]),
        *(
            Entry(f"mlrun members, {n}", "with_mlrun", epochs, [f"--members={n}"], heats=heats)
            for n, epochs, heats in (
                (1, 50, 5),
                (8, 50, 5),
                (64, 50, 5),
                (256, 50, 2),
                (1024, 50, 1),  # a minute, for 1024 folders
            )
        ),
    ],
    "one after another, torch in memory",
    [
        Goal("mlrun members, 64", "one after another, torch in memory", 20),
        Goal("mlrun members, 64", "JAX vmap, 64", 1),
        Goal("mlrun members, 1024", "mlrun members, 64", 1),
    ],
    note="Training loops only; the last column is the complete process. 64 members miss the goal "
    "because of Python's work on 3,200 small epochs, see the next table. Multirun, joblib, Optuna "
    "and Ray run 2 to 8 configurations. Multirun and 256 members have only two heats, Ray and 1024 "
    "members only one.",
)
HELP, LS, CFG, SMOKE = "mlrun --help", "mlrun ls", "mlrun --cfg job", "mlrun debug=smoke"
HELLO, IMPORTS = "Hydra's hello world", "import torch, pandas; compose"
START = Race(
    "start",
    "Duration of a command",
    "",
    [
        Entry("python -c pass", "-c", options=["pass"]),
        Entry(HELP, "-m", options=["mlrun", "--help"]),
        Entry(LS, "-m", options=["mlrun", "ls"]),
        Entry(CFG, "-m", options=["mlrun", "--cfg", "job"]),
        Entry(HELLO, "hello.py", options=["--cfg", "job"]),
        Entry(SMOKE, "-m", options=["mlrun", "task=covid", "debug=smoke", "quiet=true"]),
        Entry(IMPORTS, "imports.py", options=["task=covid", "debug=smoke"]),
    ],
    HELLO,
    [Goal(CFG, HELLO, 1 / 1.2), Goal(SMOKE, IMPORTS, 1 / 1.25)],
    unit=(1, "s"),
)
SWEEP_OF_200 = [
    *("mlrun", "-m", "task=covid", "model.hidden=[16,8]", "optimizer=sgd", "quiet=true"),
    *("trainer.batch_size=256", "trainer.epochs=30", "optimizer.lr=1e-3,3e-3,1e-2,3e-2,5e-2"),
    *("optimizer.weight_decay=0,1e-5,1e-4,1e-3,1e-2", "seed=range(0,8)"),
]
SWEEP_OF_40 = [
    word.replace("1e-3,3e-3,1e-2,3e-2,5e-2", "1e-2") if "lr=" in word else word
    for word in SWEEP_OF_200
]
TOGETHER, FORTY, BASIC = "mlrun -m", "mlrun -m, 40 of the jobs", "mlrun -m hydra/launcher=basic"
SWEEPS = Race(
    "sweep",
    "A sweep of 200 covid jobs, 30 epochs each: the complete command",
    "",
    [
        Entry(TOGETHER, "-m", options=SWEEP_OF_200),
        Entry(FORTY, "-m", options=SWEEP_OF_40),
        Entry(BASIC, "-m", options=[*SWEEP_OF_200, "hydra/launcher=basic"], heats=2),
    ],
    BASIC,
    [Goal(TOGETHER, BASIC, 10)],
    unit=(1, "s"),
    note="All write the same run folders and the same summary. Hydra's basic launcher composes "
    "every job again and runs the jobs one by one. The difference between 200 and 40 jobs is the "
    "cost of 160 jobs, including training.",
)
COSTS = Race(
    "costs",
    "Cost of one read, one checkpoint and one log line",
    "covid",
    [Entry("costs", "costs", threads=1)],
    "torch.save, covid",
    unit=(1e-6, "µs"),
)
QUIET = ", both cores free"
BUSY = replace(
    COVID,
    entries=[e for e in COVID.entries if e.label in (NOTEBOOK, TEMPLATE, EAGER, SCAN, NATIVE)],
    part="busy",
    title=f"{COVID.title}, the second core busy",
    goals=[Goal(NATIVE, f"{NATIVE}{QUIET}", 1 / 1.5)],
    busy=True,
)
FASTEST = (NOTEBOOK, EAGER, AUTOGRAD, SCAN, NATIVE, "JAX vmap, 64", "mlrun members, 64")


def busy(race: Race, part: str) -> Race:
    """Return the race for the fastest contestants while another process uses the second core."""
    entries = [e for e in race.entries if e.label in FASTEST or e.label == race.baseline]
    title = f"{race.title}, the second core busy"
    return replace(race, entries=entries, part=part, title=title, goals=(), busy=True)


ALL_BUSY = (
    BUSY,
    *(busy(race, "busy") for race in OTHERS if race.part != "loading"),
    busy(MEMBERS, "busy_members"),
)
RACES = (
    *(COVID, *KERNELS, WHOLE, PHASES, *OTHERS, MEMBERS, MEMBERS_PHASES, SWEEPS, START, COSTS),
    *ALL_BUSY,
)
