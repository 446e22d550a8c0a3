"""Codecs, external storage and serialization contexts: what happens to payloads between a worker and its code.

The work is done by the functions that the SDK's own worker uses. Codecs may wait (for a key server, say); while
they do, virtual time passes.
"""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

import temporalio.bridge.worker
import temporalio.converter
from temporalio.bridge.proto import workflow_activation, workflow_completion
from temporalio.worker import _command_aware_visitor

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from temporalio.converter import DataConverter

_ACTIVITY_FIELDS: Final = {one.name for one in fields(temporalio.converter.ActivitySerializationContext)}
_TAKES_LIMIT: Final = (
    "storage_concurrency_limit" in inspect.signature(temporalio.bridge.worker.decode_activation).parameters
)
_SDK_CONVERTERS: Final = "temporalio.converter"
_STORAGE_CONCURRENCY: Final = 3  # the SDK's default for its workers
_PARTS: Final = ("payload_converter", "payload_codec", "failure_converter", "external_storage")


class Codec:
    """The data converter of a worker, as its code meets it.

    Attributes:
        converter: the client's, without any context.
        depends_on_activity: whether ``of_activity`` gives anything else than the converter.
        is_active: whether payloads are changed on their way, and so have to pass through here.
    """

    def __init__(self, converter: DataConverter, *, with_headers: bool) -> None:
        self.converter = converter
        parts = [getattr(converter, name, None) for name in _PARTS]
        self._has_context = any(_wants_context(one) for one in parts)
        self._has_storage = getattr(converter, "external_storage", None) is not None
        self.depends_on_activity = self._has_context or self._has_storage
        self.is_active = converter.payload_codec is not None or self._has_storage
        self.encodes_headers = with_headers and self.is_active
        self._options = {"storage_concurrency_limit": _STORAGE_CONCURRENCY} if _TAKES_LIMIT else {}

    def of_activity(self, **told: Any) -> DataConverter:
        """Give the converter for an activity; ``told`` are the fields of its serialization context, and its runs."""
        converter = self.converter
        if self._has_context:
            known = {name: one for name, one in told.items() if name in _ACTIVITY_FIELDS}
            converter = converter.with_context(temporalio.converter.ActivitySerializationContext(**known))
        return self._stored(converter, lambda: _target_of_activity(told))

    def _stored(self, converter: Any, target: Callable[[], Any]) -> DataConverter:
        in_context = getattr(converter, "_with_store_context", None) if self._has_storage else None
        found: DataConverter = converter if in_context is None else in_context(target())
        return found

    def of_workflow(self, namespace: str, workflow_id: str, instance: Any) -> Any:
        """Give the converter for a workflow's activations; before the first there is no instance yet."""
        context = temporalio.converter.WorkflowSerializationContext(
            namespace=namespace, workflow_id=workflow_id
        )
        return self.converter.with_context(context) if instance is None else _ByCommand(self, instance)

    async def decode(self, jobs: Sequence[Any], converter: Any) -> list[Any]:
        """Give the jobs of an activation as the workflow is to see them."""
        activation = workflow_activation.WorkflowActivation(jobs=jobs)
        await temporalio.bridge.worker.decode_activation(
            activation, converter, decode_headers=self.encodes_headers, **self._options
        )
        return list(activation.jobs)

    async def encode(self, commands: Sequence[Any], converter: Any) -> list[Any]:
        """Give a workflow's commands as they leave the worker."""
        completion = workflow_completion.WorkflowActivationCompletion()
        completion.successful.commands.extend(commands)
        await temporalio.bridge.worker.encode_completion(
            completion, converter, encode_headers=self.encodes_headers, **self._options
        )
        return list(completion.successful.commands)


def _wants_context(part: Any) -> bool:
    """Whether a part of a data converter is another one in a context.

    The SDK's own, that consist of others, take a context only to pass it on: what counts is whether one of those
    wants it. That they would give themselves otherwise is found out once and not for each activity.
    """
    if type(part).__module__.startswith(_SDK_CONVERTERS):
        inner = getattr(part, "_inner_payload_converter", None)
        if inner is not None:
            return _wants_context(inner)
        if isinstance(part, temporalio.converter.CompositePayloadConverter):
            return any(_wants_context(one) for one in part.converters.values())
    return isinstance(part, temporalio.converter.WithSerializationContext)


class _ByCommand:
    """Stands for a data converter: each payload is handled in the context of the command that it belongs to."""

    def __init__(self, codec: Codec, instance: Any) -> None:
        self._codec = codec
        self._instance = instance

    def __getattr__(self, name: str) -> Callable[[Any], Coroutine[Any, Any, Any]]:
        async def with_context(payloads: Any) -> Any:
            return await getattr(self._chosen(), name)(payloads)

        return with_context

    def _chosen(self) -> DataConverter:
        command = _command_aware_visitor.current_command_info.get()
        context = self._instance.get_serialization_context(command)
        plain = self._codec.converter
        converter = plain if context is None else plain.with_context(context)
        return self._codec._stored(converter, lambda: self._instance.get_external_store_context(command))


def _target_of_activity(told: dict[str, Any]) -> Any:
    target: dict[str, Any] = {"namespace": told["namespace"]}
    if told.get("workflow_id"):
        target |= {
            "id": told["workflow_id"],
            "type": told["workflow_type"],
            "run_id": told["workflow_run_id"],
        }
        kind: Any = temporalio.converter.StorageDriverWorkflowInfo
    else:
        target |= {
            "id": told["activity_id"],
            "type": told["activity_type"],
            "run_id": told["activity_run_id"],
        }
        kind = temporalio.converter.StorageDriverActivityInfo
    return temporalio.converter.StorageDriverStoreContext(target=kind(**target))
