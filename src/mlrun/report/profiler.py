"""Profile the first epochs: profile.txt for reading, trace.json for a trace viewer."""

from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from mlrun.system.files import replaced, write_atomically

EPOCHS = 2  # a longer trace is too large to open


class Profiler:
    """Profiles from its creation until `epoch` was called for EPOCHS epochs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        activities = [ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(ProfilerActivity.CUDA)
        self._profile = profile(activities=activities)
        self._profile.start()

    def epoch(self, number: int, epochs: int) -> str | None:
        """After the last profiled epoch, write the files and return the head of the table."""
        if number != min(EPOCHS, epochs):
            return None
        self._profile.stop()
        averages = self._profile.key_averages()
        table = averages.table(sort_by="self_cpu_time_total", row_limit=40)
        write_atomically(self._folder / "profile.txt", table.encode())
        with replaced(self._folder / "trace.json") as file:
            self._profile.export_chrome_trace(file.name)
        return str(averages.table(sort_by="self_cpu_time_total", row_limit=8))
