"""An answer becomes an annotation, or is asked for again with what is wrong with it."""

from dataclasses import dataclass

from omni_batch.annotation.convert import Violation
from omni_batch.annotation.read import Annotation, read_annotation
from omni_batch.annotation.schema import AnnotationSchema
from omni_batch.errors import AnnotationError
from omni_batch.planning.plan import Plan
from omni_batch.planning.prepared_item import PreparedItem, asked_again
from omni_batch.types import Answer


@dataclass(frozen=True, slots=True)
class Annotator:
    """Holds the answers of a run against its schema."""

    plan: Plan
    schema: AnnotationSchema
    max_reasks: int
    """How often one item is asked again."""

    def read(self, answer: Answer) -> Annotation:
        """The annotation in an answer.

        Raises:
            AnnotationError: it has none, or not surely one.
        """
        response = answer.response
        is_cut = response.finish_reason == "length"
        try:
            return read_annotation(response.text, self.schema, cut=is_cut)
        except Violation as exc:
            raise AnnotationError(str(exc)) from None

    def accepts(self, answer: Answer) -> bool:
        """Whether there is an annotation in an answer."""
        try:
            self.read(answer)
        except AnnotationError:
            return False
        return True

    def asked_again(
        self, prepared: PreparedItem, answer: Answer, wrong: AnnotationError
    ) -> PreparedItem:
        """The same question in the same conversation, with what is wrong with its answer."""
        return asked_again(
            self.plan.asking(prepared.item), prepared, answer.response.text, str(wrong)
        )


def annotator_of(plan: Plan) -> Annotator | None:
    """Where a run asks for annotations."""
    if plan.annotation is None or plan.config.annotation is None:
        return None
    return Annotator(plan, plan.annotation, plan.config.annotation.max_reasks)
