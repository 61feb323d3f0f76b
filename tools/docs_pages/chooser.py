"""What to try first, by what one has: the table at the head of the index of losses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """A situation and the losses for it.

    Args:
        have: what one has, or wants.
        use: names of losses, the first to try first.
        why: what to know about them.
    """

    have: str
    use: tuple[str, ...]
    why: str = ""


CHOICES = (
    Choice("classes, and nothing else in mind", ("kd",), "the measure of all others; then its temperature"),
    Choice(
        "labels, and a teacher that is nearly always sure",
        ("dkd", "nkd", "mse_logits"),
        "what the teacher says of the other classes gets a weight of its own",
    ),
    Choice("a teacher much stronger than the student", ("dist", "mlld"), "with kd's transform `standardise` as well"),
    Choice("a student that starts far away, or a large vocabulary", ("skewed_kl", "gjsd"), "bounded gradients"),
    Choice("no time to search for a temperature", ("ctkd",), "it is learned against the student"),
    Choice("a teacher that is often wrong", ("kd", "wsld"), "kd with the sample weight `teacher_is_right`"),
    Choice("stored teachers with many thousand classes", ("topk_kl", "topk_tvd"), "k numbers a row instead of all"),
    Choice("a decoder, or an output a frame", ("token_kd", "frame_kd"), "padding and blanks are left out"),
    Choice("yes-or-no outputs, or several labels a row", ("binary_kd", "multilabel_kd")),
    Choice("numbers instead of classes", ("regression_kd", "bounded_regression")),
    Choice("rankings: retrieval, recommendation", ("listwise_kd", "promptmm_listwise", "dark_rank")),
    Choice(
        "features of both sides",
        ("fitnets", "cosine_features", "vid"),
        "an adapter joins the widths; best beside kd or in a first stage",
    ),
    Choice(
        "features that no adapter should touch, of any widths",
        ("rkd", "sp", "pkt", "cka"),
        "relations between the rows of a batch; larger batches say more",
    ),
    Choice("many rows, and time for a strong feature loss", ("crd",), "remembers every training row"),
    Choice("a student that may keep the teacher's head", ("simkd",), "with `head: teacher`"),
    Choice(
        "two convolutional networks",
        ("at", "reviewkd", "ofd", "cwd"),
        "at learns nothing of its own; reviewkd and ofd are stronger and cost more; cwd for dense outputs",
    ),
    Choice(
        "two transformers",
        ("minilm", "pkd", "token_gram", "attention_mse"),
        "minilm takes any widths; attention_mse wants equal numbers of heads",
    ),
    Choice("two dual encoders (CLIP)", ("clipkd_feature", "tinyclip_affinity", "mobileclip"), "equal widths first"),
    Choice(
        "a teacher that reads other modalities than the student",
        ("kd", "c2kd", "frequency_features", "rkd"),
        "kd, then what leaves out the parts on which they cannot agree",
    ),
    Choice("rows in which modalities are missing", ("mad", "mmanet_regularisation"), "with `modality_dropout`"),
    Choice(
        "modalities of one model that should teach each other",
        ("dmd_homogeneous", "misa_cmd", "misa_difference"),
        "for a custom model that gives shared and private representations",
    ),
)
