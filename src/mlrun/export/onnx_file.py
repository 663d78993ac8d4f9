"""Export as ONNX: one named input per column, labels as output; runs without Python.

torch's exporter creates the graph from raw rows to predictions; nodes in front of it combine the
columns into raw rows, nodes behind it turn class numbers into labels.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import onnxscript  # noqa: F401  # torch's exporter needs it: fail here if it is missing
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from torch import Tensor

from mlrun.data.dataset import Spec
from mlrun.data.preprocess.module import Contract
from mlrun.errors import MlrunError
from mlrun.export.reader import by_column, input_name
from mlrun.export.torch_file import Answers, Facts, trace
from mlrun.runs.predictor import Predictor

OPSET = 18  # the default of torch's exporter; runtimes since 2023 support it
OPSET_ML = 4
LARGEST = 2_000_000_000  # bytes of weights; protobuf allows 2 GiB, including the graph
OUTPUTS = ("prediction", "probabilities")


def to_bytes(predictor: Predictor, facts: Facts) -> bytes:
    """Return the content of a .onnx file.

    Raises:
        MlrunError: the model is too large for the format, or a column is not supported.
    """
    _refuse_large(predictor)
    _refuse_columns(predictor.contract)
    core = torch.onnx.export(trace(predictor), dynamo=True, opset_version=OPSET, verbose=False)
    assert core is not None
    model = _with_heads(core.model_proto, predictor.contract, predictor.spec)
    helper.set_model_props(model, facts)
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content


def load(path: Path) -> Callable[[Tensor], Answers]:
    """Load the file with onnxruntime as a function of raw rows in the order of the contract."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    contract = json.loads(facts["contract"])
    spec = Spec.from_record(json.loads(facts["spec"]), "the ONNX file's data spec")

    def answer(rows: Tensor) -> Answers:
        found = dict(zip(OUTPUTS, session.run(None, _feeds(contract, rows)), strict=False))
        if spec.classes:
            found["prediction"] = np.array([*map(spec.classes.index, found["prediction"])])
        return {name: torch.from_numpy(values) for name, values in found.items()}

    return answer


def _refuse_large(predictor: Predictor) -> None:
    size = sum(tensor.nbytes for tensor in predictor.model.state_dict().values())
    if size > LARGEST:
        raise MlrunError(
            f"the weights take {size / 1e9:.1f} GB, but an ONNX file (protobuf) is limited "
            "to 2 GB; use --format torch_export or safetensors"
        )


def _refuse_columns(contract: Contract) -> None:
    for column in contract.get("columns", []):
        if column["name"] in OUTPUTS:
            raise MlrunError(
                f"column '{column['name']}' has the name of an output of the ONNX file, where "
                "names are unique; rename the column, or use --format torch_export"
            )
        if column["fill"] is not None and "" in (column["categories"] or []):
            raise MlrunError(
                f"column '{column['name']}' has an empty category, which in an ONNX file "
                "is a missing value; give it a name, or use --format torch_export"
            )


# --- nodes around the exported graph ---


def _with_heads(core: ModelProto, contract: Contract, spec: Spec) -> ModelProto:
    """Add nodes for inputs (columns or images) and labels to the graph."""
    prefix = _prefix([input_name(column) for column in contract.get("columns", [])])
    core = onnx.compose.add_prefix(core, prefix)
    for node in core.graph.node:
        node.ClearField("metadata_props")  # the exporter's references to source code
    inputs, before = _inputs(contract, spec, core.graph.input[0].name, prefix)
    outputs, behind, labels = _outputs(spec, [out.name for out in core.graph.output], prefix)
    graph = helper.make_graph(
        [*before, *core.graph.node, *behind],
        "mlrun",
        inputs,
        outputs,
        initializer=[*core.graph.initializer, *labels],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", OPSET_ML)]
    return helper.make_model(
        graph, opset_imports=opsets, ir_version=core.ir_version, producer_name="mlrun"
    )


def _prefix(names: Sequence[str]) -> str:
    """Return a prefix for names in the graph that no column name starts with."""
    prefix = "model/"
    while any(name.startswith(prefix) for name in names):
        prefix = "_" + prefix
    return prefix


def _inputs(
    contract: Contract, spec: Spec, rows: str, prefix: str
) -> tuple[list[ValueInfoProto], list[NodeProto]]:
    if contract["input"] == "images":
        images = _value("images", TensorProto.UINT8, *spec.in_shape)
        return [images], [helper.make_node("Identity", ["images"], [rows])]
    inputs, nodes, numbers = [], [], []
    for index, column in enumerate(contract["columns"]):
        name, levels = input_name(column), column["categories"]
        inputs.append(_value(name, TensorProto.DOUBLE if levels is None else TensorProto.STRING, 1))
        numbers.append(name if levels is None else f"{prefix}code_{index}")
        if levels is not None:
            nodes.append(_encoder(name, numbers[-1], levels))
    return inputs, [*nodes, helper.make_node("Concat", numbers, [rows], axis=1)]


def _encoder(text: str, code: str, levels: Sequence[str]) -> NodeProto:
    """Encode each level as its index, empty as NaN, anything else as the unknown index."""
    codes = dict.fromkeys([""], np.nan) | {level: i for i, level in enumerate(levels)}
    return helper.make_node(
        "LabelEncoder",
        [text],
        [code],
        domain="ai.onnx.ml",
        keys_strings=list(codes),
        values_tensor=numpy_helper.from_array(np.array([*codes.values()], dtype=np.float64)),
        default_tensor=numpy_helper.from_array(np.array([len(levels)], dtype=np.float64)),
    )


def _outputs(
    spec: Spec, names: Sequence[str], prefix: str
) -> tuple[list[ValueInfoProto], list[NodeProto], list[TensorProto]]:
    if not spec.classes:
        node = helper.make_node("Identity", names, ["prediction"])
        return [_value("prediction", TensorProto.DOUBLE, 1)], [node], []
    table = f"{prefix}classes"
    labels = numpy_helper.from_array(np.array(spec.classes, dtype=object), table)
    nodes = [
        helper.make_node("Gather", [table, names[0]], ["prediction"]),
        helper.make_node("Identity", [names[1]], ["probabilities"]),
    ]
    prediction = _value("prediction", TensorProto.STRING)
    probabilities = _value("probabilities", TensorProto.FLOAT, len(spec.classes))
    return [prediction, probabilities], nodes, [labels]


def _value(name: str, kind: int, *shape: int) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ["rows", *shape])


# --- raw rows as inputs of the file ---


def _feeds(contract: Contract, rows: Tensor) -> Mapping[str, NDArray[Any]]:
    if contract["input"] == "images":
        return {"images": rows.numpy()}
    return by_column(rows.numpy(), contract)
