"""An index by an exported network, which tests share."""

from atlas.inference.settings import RuntimeOptions

FLOAT32 = RuntimeOptions(runtime="openvino", precision="float32")
