"""The names under which the process runner knows the model and a hook in flight."""

from sandbox.model.hook import Hook as HookInterface
from sandbox.model.model import Model as ModelInterface

__all__ = ["HookInterface", "ModelInterface"]
