"""Markers for the faults in docs/reliability.md and their outcomes; `make soak` writes the page."""

import pytest

crash = pytest.mark.fault(
    "a crash between two epochs (every task, scheduler, optimizer; early stopping, accumulation)",
    "`mlrun resume` ends with the same bits as an uninterrupted run",
)
older_checkpoint = pytest.mark.fault(
    "a checkpoint older than metrics.csv and the TensorBoard file",
    "`mlrun resume` ends with the same bits as an uninterrupted run; no epoch appears twice",
)
damaged_last = pytest.mark.fault(
    "last.safetensors truncated or corrupted",
    "a warning; the run resumes from previous.safetensors with the same bits",
)
damaged_all = pytest.mark.fault(
    "every checkpoint damaged",
    "one error line, exit 2",
)
changed = pytest.mark.fault(
    "resuming with another model, seed or data",
    "an error line with the reason, exit 2",
)
no_memory = pytest.mark.fault(
    "memory runs out at a random moment (a limit of the system)",
    "whatever ends the process, `mlrun resume` ends with the same bits as an uninterrupted run",
)
stopped_parent = pytest.mark.fault(
    "the parent process of several is stopped for two seconds (SIGSTOP)",
    "the run or sweep ends with the same bits",
)
edited_record = pytest.mark.fault(
    "run.json is deleted or overwritten while the run trains",
    "the run ends with the same bits and its record, or one error line and exit 2",
)
data_gone = pytest.mark.fault(
    "the training data are deleted or replaced while the run trains",
    "the run ends with the same bits",
)
time_is_up = pytest.mark.fault(
    "the time limit (trainer.max_minutes)",
    "stops after the epoch, writes pred.csv; `mlrun resume` continues with the same bits",
)
second_process = pytest.mark.fault(
    "a second process on the same run",
    "an error line: another process is training; exit 2",
)
interrupted = pytest.mark.fault(
    "Ctrl-C, SIGTERM, SIGHUP (the terminal closes) and SIGUSR1 (Slurm)",
    "finishes the step, saves the state, prints the command to continue; exit 128 + signal",
)
no_reader = pytest.mark.fault(
    "the reader of the output exits, as in `mlrun … \\| head`",
    "the run continues",
)
other_rerun = pytest.mark.fault(
    "rerun with other versions, data or code",
    "prints the first epoch and column that differ, and what changed; exit 1",
)
not_finite = pytest.mark.fault(
    "a loss or gradient that is NaN or infinite",
    "the run stops before the step and prints where and what to try; status `diverged`, exit 1",
)
mistakes = pytest.mark.fault(
    "misspelt keys, groups and options, wrong types and ranges, contradictory settings",
    "one or two lines with the allowed values, exit 2, no folder",
)
bad_csv = pytest.mark.fault(
    "a CSV file that is unusable for training",
    "one line with file, row and column, exit 2, no folder",
)
same_second = pytest.mark.fault(
    "runs and sweeps that start in the same second, up to eight, in one folder",
    "each has a complete folder of its own; names that are taken get a number",
)
out_of_memory = pytest.mark.fault(
    "out of memory on the device",
    "an error line with the largest batch size that fits (found by trying); exit 2",
)
disk_full = pytest.mark.fault(
    "disk full",
    "one error line, exit 2; files stay intact; `mlrun resume` continues with the same bits",
)
unwritable_place = pytest.mark.fault(
    "an output folder without write permission",
    "one error line, exit 2",
)
deleted_folder = pytest.mark.fault(
    "the run folder is deleted during training",
    "one error line, exit 2",
)
wrong_clock = pytest.mark.fault(
    "a clock that goes backwards, or jumps by up to a day whenever it is asked",
    "no effect on training, resuming or stopping",
)
moved = pytest.mark.fault(
    "the run folder was moved and its training data deleted",
    "predict, evaluate --input, export and show work; the other commands name the missing file",
)
unwritable_run = pytest.mark.fault(
    "a run folder without write permission",
    "an error line that points to --output",
)
unseen_category = pytest.mark.fault(
    "a category unknown to training",
    "an error line with the row; --allow-unknown treats it as unknown",
)
foreign_target = pytest.mark.fault(
    "a class or function in a run folder from someone else",
    "one line names the refused item; nothing is executed, nothing outside is read or written",
)
foreign_hydra = pytest.mark.fault(
    "hydra.* settings in a run folder from someone else",
    "ignored",
)
own_target = pytest.mark.fault(
    "a class or function on the command line or in ./conf that is not on the allow-list",
    "one line names the refused item; nothing is executed, nothing outside is read or written",
)
hostile_conf = pytest.mark.fault(
    "a conf/ folder from someone else: hydra.* settings, names, YAML bombs, modules next to it",
    "one line names the refused item; nothing is executed, nothing outside is read or written",
)
yaml_tags = pytest.mark.fault(
    "YAML tags that create Python objects",
    "one line names the refused item; nothing is executed, nothing outside is read or written",
)
foreign_lookup = pytest.mark.fault(
    "interpolations in a run folder from someone else",
    "one line names the refused item; nothing is executed, nothing outside is read or written",
)
hostile_checkpoint = pytest.mark.fault(
    "a checkpoint that contains code, is a zip bomb or claims terabytes",
    "one line names the refused item; nothing is executed, nothing outside is read or written",
)
links = pytest.mark.fault(
    "links in a run folder",
    "one line names the refused item; nothing is executed, nothing outside is read or written",
)
foreign_paths = pytest.mark.fault(
    "paths to other places in a run.json from someone else",
    "one line names the refused item; nothing is executed, nothing outside is read or written",
)
foreign_sweep = pytest.mark.fault(
    "a sweep folder from someone else: folders of jobs, links, pipes, classes, pickles, data files",
    "one line names the refused item; nothing is executed, nothing outside is read or written",
)
secrets = pytest.mark.fault(
    "secrets in settings, on the command line or in the environment",
    "never recorded",
)
random_csv = pytest.mark.fault(
    "random or damaged CSV bytes",
    "success, or one error line and exit code 2",
)
random_idx = pytest.mark.fault(
    "random or damaged IDX bytes",
    "success, or one error line and exit code 2",
)
random_journal = pytest.mark.fault(
    "random or damaged bytes in journal.jsonl of a sweep",
    "success, or one error line and exit code 2",
)
random_checkpoint = pytest.mark.fault(
    "random or damaged bytes in a checkpoint, with and without a checksum that fits",
    "success, or one error line and exit code 2",
)
random_sweep = pytest.mark.fault(
    "damaged files in a sweep folder",
    "success, or one error line and exit code 2; nothing outside is read or written",
)
random_overrides = pytest.mark.fault(
    "random overrides",
    "success, or one error line and exit code 2",
)
damaged_folder = pytest.mark.fault(
    "damaged files in a run folder",
    "success, or one error line and exit code 2",
)
odd_output = pytest.mark.fault(
    "`--output` names a pipe, a device or a link",
    "a pipe or device is written to, a link leads to its file; an export says that it needs a file",
)
leftovers = pytest.mark.fault(
    "kill -9 while mlrun writes a file outside a run folder, or into its cache",
    "the old file stays; the next command that writes there removes the temporary file",
)
interrupted_writer = pytest.mark.fault(
    "SIGTERM, SIGHUP or SIGUSR1 while predict or export writes",
    "the old file stays, nothing else is left; exit 128 + signal",
)
changing = pytest.mark.fault(
    "a data file changes while it is read",
    "one error line, exit 2; nothing is cached",
)
swapped = pytest.mark.fault(
    "a file in a run folder from someone else becomes a link while it is opened",
    "one line names the refused item; nothing is executed, nothing outside is read or written",
)
odd_world = pytest.mark.fault(
    "standard output closed or full, no home folder, no cache, 16 open files, ASCII, odd names, a "
    "wrong MPLBACKEND",
    "the command works, or one error line and exit code 2",
)
poor_folder = pytest.mark.fault(
    "a folder without fsync or locks",
    "the run goes on, and says once what a crash may cost",
)
