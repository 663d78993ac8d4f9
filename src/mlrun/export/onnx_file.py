"""The model as ONNX: one input per column, by name, and labels out; no Python needed to run it.

torch's exporter makes the graph from raw rows to predictions; nodes before it make raw rows of
the columns, nodes behind it labels of the class numbers.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import onnxscript  # noqa: F401  # torch's exporter wants it: better missed here than in there
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from torch import Tensor

from mlrun.data.dataset import Spec
from mlrun.data.preprocess.module import Contract
from mlrun.errors import MlrunError
from mlrun.export.torch_file import Answers, Facts, trace
from mlrun.runs.predictor import Predictor

OPSET = 18  # the one torch's exporter is written for; runtimes of 2023 and later know it
OPSET_ML = 4
LARGEST = 2_000_000_000  # bytes of weights; protobuf holds 2 GiB, and the graph takes some of it
OUTPUTS = ("prediction", "probabilities")


def to_bytes(predictor: Predictor, facts: Facts) -> bytes:
    """The content of a .onnx file.

    Raises:
        MlrunError: too large for the format, or columns that it cannot take.
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
    """What onnxruntime computes from the file, for raw rows as the contract orders them."""
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
            f"the model's weights take {size / 1e9:.1f} GB; an ONNX file (protobuf) holds 2 GB at "
            "most: --format torch_export or safetensors"
        )


def _refuse_columns(contract: Contract) -> None:
    for column in contract.get("columns", []):
        if column["name"] in OUTPUTS:
            raise MlrunError(
                f"column '{column['name']}' is called as an output of the ONNX file, where every "
                "name is taken once: rename the column, or --format torch_export"
            )
        if column["fill"] is not None and "" in (column["categories"] or []):
            raise MlrunError(
                f"column '{column['name']}' has a category of blanks only, which in an ONNX file "
                "is a missing value: give it a name, or --format torch_export"
            )


# --- nodes around the exported graph ---


def _with_heads(core: ModelProto, contract: Contract, spec: Spec) -> ModelProto:
    """The graph with a column or images for each input, and a label for each class number."""
    prefix = _prefix([column["name"] for column in contract.get("columns", [])])
    core = onnx.compose.add_prefix(core, prefix)
    for node in core.graph.node:
        node.ClearField("metadata_props")  # the exporter's notes on the code it came from
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
    """What no column's name begins with, for the graph's own names."""
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
        name, levels = column["name"], column["categories"]
        inputs.append(_value(name, TensorProto.DOUBLE if levels is None else TensorProto.STRING, 1))
        numbers.append(name if levels is None else f"{prefix}code_{index}")
        if levels is not None:
            nodes.append(_encoder(name, numbers[-1], levels))
    return inputs, [*nodes, helper.make_node("Concat", numbers, [rows], axis=1)]


def _encoder(text: str, code: str, levels: Sequence[str]) -> NodeProto:
    """Each level as its number, nothing as NaN, anything else as the number of the unknown."""
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
        return [_value("prediction", TensorProto.FLOAT, 1)], [node], []
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


# --- raw rows as the file takes them ---


def _feeds(contract: Contract, rows: Tensor) -> dict[str, NDArray[Any]]:
    if contract["input"] == "images":
        return {"images": rows.numpy()}
    columns = zip(contract["columns"], rows.numpy().T[:, :, None], strict=True)
    return {column["name"]: _column(column, values) for column, values in columns}


def _column(column: Mapping[str, Any], values: NDArray[np.float64]) -> NDArray[Any]:
    """(n, 1) numbers as they are, categories as text again."""
    levels = column["categories"]
    if levels is None:
        return values
    unseen = "?" * (1 + max(map(len, levels), default=0))  # longer than any level: not one of them
    texts = [*levels, unseen]
    words = ["" if np.isnan(code) else texts[int(code)] for code in values.ravel()]
    return np.array(words, dtype=object).reshape(-1, 1)
