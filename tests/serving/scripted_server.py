"""A real gRPC server whose Predict answers as it is told."""

import threading
from concurrent import futures

import grpc
from tensorflow_serving.apis import predict_pb2

PREDICT = "/tensorflow.serving.PredictionService/Predict"


class ScriptedServer:
    """One entry of `script` per call: a status code, None to not answer, or an answer's bytes.

    Attributes:
        details: of every status code.
        target: where it listens.
        metadata: of every call, as a dictionary.
        peers: of every call, the client's address.
    """

    def __init__(self, *script, credentials=None):
        self.script = list(script)
        self.details = "as told"
        self.metadata = []
        self.peers = []
        self.release = threading.Event()
        handler = grpc.unary_unary_rpc_method_handler(self._answer)
        service, method = PREDICT.strip("/").split("/")
        generic = grpc.method_handlers_generic_handler(service, {method: handler})
        self.server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[generic])
        port = (
            self.server.add_secure_port("localhost:0", credentials)
            if credentials
            else self.server.add_insecure_port("localhost:0")
        )
        self.target = f"localhost:{port}"

    @property
    def calls(self):
        return len(self.peers)

    def _answer(self, request, context):
        self.metadata.append(dict(context.invocation_metadata()))
        self.peers.append(context.peer())
        step = self.script.pop(0)
        if isinstance(step, bytes):
            return step
        if step is None:
            self.release.wait(10)
            return b""
        context.abort(step, self.details)

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *_):
        self.release.set()
        self.server.stop(None).wait()


def ranking(*item_ids, propensities=()):
    """The bytes of an answer to `recommend` for one user, by version 7; scores 1, 2, ..."""
    response = predict_pb2.PredictResponse()
    response.model_spec.version.value = 7
    names = {"item_id": 7, "score": 1} | ({"propensity": 1} if propensities else {})
    for name, dtype in names.items():
        response.outputs[name].dtype = dtype
        for size in (1, len(item_ids)):
            response.outputs[name].tensor_shape.dim.add(size=size)
    response.outputs["item_id"].string_val.extend(item.encode() for item in item_ids)
    response.outputs["score"].float_val.extend(range(1, len(item_ids) + 1))
    if propensities:
        response.outputs["propensity"].float_val.extend(propensities)
    return response.SerializeToString()
