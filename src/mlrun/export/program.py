"""The Python program that comes with an exported file: it reads new rows as in training."""

import inspect
import re
from types import ModuleType

from mlrun.data import categories, dates, number_format
from mlrun.export import reader
from mlrun.system import plain_text

HEADER = '''"""Predict with {name}: python {name}.py new.csv > predictions.csv

Written by mlrun export. It reads the cells of a CSV file as in training: formats of numbers, words
for missing values, spellings of categories. It needs {needs}, not mlrun.
"""
'''

ONNX = '''

def main(model: str, file: str, separator: str = ",") -> None:
    """Print the predictions for the rows of a file as CSV."""
    import json

    import onnxruntime

    session = onnxruntime.InferenceSession(model)
    facts = session.get_modelmeta().custom_metadata_map
    contract, spec = json.loads(facts["contract"]), json.loads(facts["spec"])
    inputs = column_inputs(read_texts(file, separator), contract)
    prediction, *probabilities = session.run(None, inputs)
    columns = {spec["header"][1]: prediction.ravel()}
    for label, values in zip(spec["classes"], probabilities[0].T if probabilities else ()):
        columns[f"probability_{label}"] = values
    print(plain(pd.DataFrame(columns).to_csv(index=False)), end="")
'''

TORCH = '''

def main(model: str, file: str, separator: str = ",") -> None:
    """Print the predictions for the rows of a file as CSV."""
    import json

    import torch

    extra = {"contract.json": "", "spec.json": ""}
    program = torch.export.load(model, extra_files=extra).module()
    contract, spec = json.loads(extra["contract.json"]), json.loads(extra["spec.json"])
    answers = program(torch.tensor(raw_inputs(read_texts(file, separator), contract)))
    prediction = answers["prediction"].ravel().tolist()
    if spec["classes"]:
        prediction = [spec["classes"][number] for number in prediction]
    columns = {spec["header"][1]: prediction}
    for number, label in enumerate(spec["classes"]):
        columns[f"probability_{label}"] = answers["probabilities"][:, number].tolist()
    print(plain(pd.DataFrame(columns).to_csv(index=False)), end="")
'''

FOOTER = """

if __name__ == "__main__":
    import sys
    from pathlib import Path

    main(str(Path(__file__).with_suffix("")), *sys.argv[1:])
"""
MAINS = {
    "onnx": (ONNX, "onnxruntime, NumPy and pandas"),
    "torch_export": (TORCH, "torch, NumPy and pandas"),
}


def program_for(format: str, name: str) -> str | None:
    """Return the program for an exported table model; None if the format has none.

    Args:
        format: onnx | torch_export | safetensors.
        name: the name of the exported file.
    """
    if format not in MAINS:
        return None
    main, needs = MAINS[format]
    parts = [_source(module) for module in (plain_text, number_format, dates, categories, reader)]
    return HEADER.format(name=name, needs=needs) + "\n".join(parts) + main + FOOTER


def _source(module: ModuleType) -> str:
    """Return the source of a module without its docstring and imports of mlrun."""
    text = inspect.getsource(module)
    text = re.sub(r'\A""".*?"""\n', "", text, flags=re.DOTALL)
    return re.sub(r"^from mlrun\S* import (\([^)]*\)|.*)\n", "", text, flags=re.MULTILINE)
