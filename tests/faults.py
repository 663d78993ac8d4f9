"""The faults of docs/reliability.md and what happens then; `make soak` counts and writes them."""

import pytest

crash = pytest.mark.fault(
    "a crash between two epochs: every task, scheduler, optimizer, early stopping, accumulation",
    "`mlrun resume` ends with the same bits as the run that never stopped",
)
older_checkpoint = pytest.mark.fault(
    "a checkpoint older than metrics.csv and the TensorBoard file",
    "`mlrun resume` ends with the same bits as the run that never stopped; no epoch is twice",
)
damaged_last = pytest.mark.fault(
    "last.pt truncated or corrupted",
    "told; previous.pt is used, to the same bits",
)
damaged_all = pytest.mark.fault(
    "every checkpoint damaged",
    "one error line, exit 2",
)
changed = pytest.mark.fault(
    "a resumed run with another model, seed or data",
    "refused with the reason, exit 2",
)
time_is_up = pytest.mark.fault(
    "time is up (trainer.max_minutes)",
    "stops after the epoch with a pred.csv; `mlrun resume` goes on to the same bits",
)
second_process = pytest.mark.fault(
    "a second process on the same run",
    "told that another one is training; exit 2",
)
interrupted = pytest.mark.fault(
    "Ctrl-C and SIGTERM",
    "the step is finished, the state saved, the command to go on printed; exit 130 or 143",
)
no_reader = pytest.mark.fault(
    "the reader of the output goes away, as in `mlrun … \\| head`",
    "the run goes on",
)
other_rerun = pytest.mark.fault(
    "a rerun with other versions, data or code",
    "the first epoch and column that differ, and what changed; exit 1",
)
not_finite = pytest.mark.fault(
    "a loss or gradient that is no finite number",
    "stops before the step; says where and what to try; `diverged`, exit 1",
)
mistakes = pytest.mark.fault(
    "misspelt keys, groups and options, wrong types, ranges and contradictory choices",
    "one or two lines with what is allowed, exit 2, no folder",
)
bad_csv = pytest.mark.fault(
    "a CSV that cannot be trained on",
    "file, row and column in one line, exit 2, no folder",
)
same_second = pytest.mark.fault(
    "four runs started in the same second",
    "four folders, four whole runs",
)
out_of_memory = pytest.mark.fault(
    "out of memory on the device",
    "the batch size that fits is found by trying and named; exit 2",
)
disk_full = pytest.mark.fault(
    "disk full",
    "one error line, exit 2; what was good stays good, `mlrun resume` goes on to the same bits",
)
unwritable_place = pytest.mark.fault(
    "an output folder that cannot be written",
    "one error line, exit 2",
)
deleted_folder = pytest.mark.fault(
    "the run folder deleted while the run trains",
    "one error line, exit 2",
)
wrong_clock = pytest.mark.fault(
    "a clock that goes backwards",
    "no effect on what is learnt, resumed or stopped",
)
moved = pytest.mark.fault(
    "the run folder moved and its training data gone",
    "predict, evaluate --input, export and show work; the others name the file that is missing",
)
unwritable_run = pytest.mark.fault(
    "a run folder that cannot be written",
    "one line; --output says where else",
)
unseen_category = pytest.mark.fault(
    "a category that training never saw",
    "named with its row; --allow-unknown takes it as unknown",
)
foreign_target = pytest.mark.fault(
    "a class or function named by a foreign run folder",
    "one line says what was refused; nothing runs, nothing is read or written outside",
)
foreign_hydra = pytest.mark.fault(
    "hydra.* settings in a foreign run folder",
    "ignored",
)
own_target = pytest.mark.fault(
    "a class or function named on the command line or in ./conf",
    "one line says what was refused; nothing runs, nothing is read or written outside",
)
yaml_tags = pytest.mark.fault(
    "YAML tags that build Python objects",
    "one line says what was refused; nothing runs, nothing is read or written outside",
)
foreign_lookup = pytest.mark.fault(
    "interpolations in a foreign run folder",
    "one line says what was refused; nothing runs, nothing is read or written outside",
)
hostile_checkpoint = pytest.mark.fault(
    "a checkpoint that holds code, is a zip bomb or claims terabytes",
    "one line says what was refused; nothing runs, nothing is read or written outside",
)
links = pytest.mark.fault(
    "links in a run folder",
    "one line says what was refused; nothing runs, nothing is read or written outside",
)
foreign_paths = pytest.mark.fault(
    "paths outside in a foreign run.json",
    "one line says what was refused; nothing runs, nothing is read or written outside",
)
secrets = pytest.mark.fault(
    "secrets in settings, the command line or the environment",
    "never written down",
)
random_csv = pytest.mark.fault(
    "random or damaged CSV bytes",
    "success, or one error line and exit code 2",
)
random_idx = pytest.mark.fault(
    "random or damaged IDX bytes",
    "success, or one error line and exit code 2",
)
random_overrides = pytest.mark.fault(
    "random overrides",
    "success, or one error line and exit code 2",
)
damaged_folder = pytest.mark.fault(
    "damaged run-folder contents",
    "success, or one error line and exit code 2",
)
