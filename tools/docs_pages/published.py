"""The recorded runs of published code: where each comes from, by which options ours gives it, and what is around it.

Tests hold that every recorded case stands here and, where the recordings are at hand, that source and options are true.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Published:
    """The source of a recorded case.

    Args:
        repository: ``owner/name``.
        symbol: what was run there.
        options: options of ours, beside numbers, that are not the defaults.
        remark: what the source puts around the loss, or where it differs without effect on the recorded numbers.
    """

    repository: str
    symbol: str
    options: Mapping[str, Any] = field(default_factory=dict)
    remark: str = ""


PUBLISHED: dict[str, Published] = {
    "kd__kl_t2__s1d": Published("megvii-research/mdistiller", "kd_loss"),
    "kd__kl_plus_ce__s1d": Published(
        "yoshitomo-matsubara/torchdistill",
        "KDLoss",
        remark="Beside a hard-label term. The source drops T² where there are no hard labels; ours always has it.",
    ),
    "kd__kl_ce_szagoruyko__s1d": Published(
        "szagoruyko/attention-transfer", "distillation", remark="Beside a hard-label term."
    ),
    "soft_ce__textbrewer__s1d": Published("airaria/TextBrewer", "kd_ce_loss", {"scale": "none"}),
    "soft_ce__mmcls__s1d": Published("yzd-v/cls_KD", "KDLoss", remark="Times the weight of the source."),
    "mse_logits__textbrewer__s1d": Published("airaria/TextBrewer", "kd_mse_loss"),
    "dkd__mdistiller__s1d": Published(
        "megvii-research/mdistiller",
        "dkd_loss",
        remark="The source gives a gradient that is not finite to a teacher that asks for one; ours gives the teacher "
        "none.",
    ),
    "reverse_kl__trl_reverse__s1d": Published("huggingface/trl", "GKDTrainer.generalized_jsd_loss(beta=1)"),
    "reverse_kl__trl_forward__s1d": Published(
        "huggingface/trl",
        "GKDTrainer.generalized_jsd_loss(beta=0)",
        remark="`beta: 0` of the generalised divergence is the forward KL.",
    ),
    "reverse_kl__distillm_reverse_kl__s1d": Published("jongwooko/distillm", "reverse_kl"),
    "reverse_kl__distillm_forward_kl__s1d": Published(
        "jongwooko/distillm",
        "forward_kl",
        remark="Called a KL divergence there, it leaves the teacher's entropy in: a cross-entropy.",
    ),
    "reverse_kl__distillm_symmetric_kl__s1d": Published(
        "jongwooko/distillm",
        "symmetric_kl",
        remark="The source leaves the teacher's entropy in its forward part; ours is 0 at equality, with the same "
        "gradient.",
    ),
    "reverse_kl__distillm_skewed_forward_kl__s1d": Published(
        "jongwooko/distillm",
        "skewed_forward_kl",
        remark="The source leaves the teacher's entropy in; ours is 0 at equality, with the same gradient.",
    ),
    "reverse_kl__distillm_skewed_reverse_kl__s1d": Published("jongwooko/distillm", "skewed_reverse_kl"),
    "gjsd__trl_masked__s1d": Published("huggingface/trl", "GKDTrainer.generalized_jsd_loss"),
    "gjsd__trl_unmasked__s1d": Published("huggingface/trl", "GKDTrainer.generalized_jsd_loss (labels=None)"),
    "gjsd__distillm_js_distance__s1d": Published(
        "jongwooko/distillm",
        "js_distance",
        remark="The source counts the share of the other side: `beta` is one minus its `lam`.",
    ),
    "nkd__mmcls__s1d": Published("yzd-v/cls_KD", "NKDLoss"),
    "dist__classification__s1d": Published(
        "hunto/image_classification_sota",
        "DIST",
        remark="The source adds 1e-8 to the product of the norms, no part of Pearson's correlation: `epsilon: 1e-8`.",
    ),
    "dist__segmentation_4d__s1d": Published(
        "hunto/DIST_KD",
        "DIST",
        remark="The source adds 1e-8 to the product of the norms, no part of Pearson's correlation: `epsilon: 1e-8`.",
    ),
    "wsld__mmcls__s1d": Published("yzd-v/cls_KD", "WSLDLoss", remark="Times the weight of the source."),
    "wsld__authors_total__s1d": Published(
        "bellymonster/Weighted-Soft-Label-Distillation",
        "WSLDistiller.forward",
        remark="Times the weight of the source, beside a hard-label term.",
    ),
    "ttm__ttm__s1d": Published("zkxufo/TTM", "TTM"),
    "ttm__wttm__s1d": Published("zkxufo/TTM", "WTTM"),
    "logit_std__kd__s1d": Published(
        "sunshangquan/logit-standardization-KD", "kd_loss(logit_stand=True)", remark="With the transform `standardise`."
    ),
    "logit_std__dkd__s1d": Published(
        "sunshangquan/logit-standardization-KD",
        "dkd_loss(logit_stand=True)",
        remark="With the transform `standardise`.",
    ),
    "mlld__full__s1d": Published(
        "Jin-Ying/Multi-Level-Logit-Distillation",
        "KD_ours.forward_train",
        {"selection": "published"},
        remark="Summed over a weak and a strong view with a hard-label term; the confidence mask of the source only "
        "scales a scalar.",
    ),
    "mlld__full_logit_std__s1d": Published(
        "sunshangquan/logit-standardization-KD",
        "MLKD.forward_train",
        {"standardise": True, "selection": "published"},
        remark="Summed over a weak and a strong view with a hard-label term; the confidence mask of the source only "
        "scales a scalar.",
    ),
    "mlld__class_level__s1d": Published("Jin-Ying/Multi-Level-Logit-Distillation", "cc_loss"),
    "mlld__batch_level__s1d": Published("Jin-Ying/Multi-Level-Logit-Distillation", "bc_loss"),
    "ofa__ofa_loss__s1d": Published("Hao840/OFAKD", "ofa_loss", {"others": "raised"}),
    "ofa__ofa_loss__s1a": Published("Hao840/OFAKD", "ofa_loss", {"others": "raised"}),
    "ctkd__global_t__s1d": Published(
        "zhengli97/CTKD",
        "Global_T + DistillKL + the temperature line of train_distill",
        remark="The source's range of temperatures is 1 to 21, not 1 to 20.",
    ),
    "topk_sparse_kl__kl__s1d": Published("arcee-ai/DistillKit", "KLDLoss", {"remainder": "zero"}),
    "topk_sparse_kl__jsd__s1d": Published("arcee-ai/DistillKit", "JSDLoss", {"remainder": "zero"}),
    "topk_sparse_kl__tvd__s1d": Published("arcee-ai/DistillKit", "TVDLoss", {"remainder": "zero"}),
    "topk_sparse_kl__kl_dense__s1d": Published("arcee-ai/DistillKit", "KLDLoss (dense signal)"),
    "topk_sparse_kl__hinge__s1d": Published("arcee-ai/DistillKit", "HingeLoss"),
    "topk_sparse_kl__logistic_ranking__s1d": Published("arcee-ai/DistillKit", "LogisticRankingLoss"),
    "fitnets__hint_mse__s1d": Published("HobbitLong/RepDistiller", "HintLoss"),
    "fitnets__convreg__s1d": Published(
        "megvii-research/mdistiller",
        "FitNet.forward_train with ConvReg",
        remark="Behind the regressor of the source, which is the adapter `conv_norm`.",
    ),
    "simkd__feature__s1d": Published(
        "DefangChen/SimKD", "SimKD(s_n, t_n, factor) + nn.MSELoss", remark="Behind the projector of the source."
    ),
    "vid__single_layer__s1d": Published(
        "HobbitLong/RepDistiller",
        "VIDLoss",
        remark="Another port (mdistiller) does not train the variances; ours does.",
    ),
    "catkd__cat_loss__s1d": Published("GzyAftermath/CAT-KD", "CAT_loss"),
    "catkd__binarized__s1d": Published("GzyAftermath/CAT-KD", "CAT_KD.forward_train (IF_BINARIZE)", {"binarise": True}),
    "hidden_state__textbrewer_hidden_mse__s1d": Published("airaria/TextBrewer", "hid_mse_loss"),
    "hidden_state__textbrewer_cosine__s1d": Published("airaria/TextBrewer", "cos_loss"),
    "hidden_state__textbrewer_pkd__s1d": Published("airaria/TextBrewer", "pkd_loss"),
    "hidden_state__textbrewer_attention_mse__s1d": Published("airaria/TextBrewer", "att_mse_loss"),
    "hidden_state__textbrewer_attention_mse_sum__s1d": Published(
        "airaria/TextBrewer", "att_mse_sum_loss", {"heads": "summed_maps"}
    ),
    "hidden_state__textbrewer_attention_ce__s1d": Published("airaria/TextBrewer", "att_ce_loss"),
    "hidden_state__textbrewer_attention_ce_mean__s1d": Published(
        "airaria/TextBrewer", "att_ce_mean_loss", {"heads": "averaged_maps"}
    ),
    "hidden_state__textbrewer_gram_mmd__s1d": Published("airaria/TextBrewer", "mmd_loss"),
    "hidden_state__distillkit_mse__s1d": Published(
        "arcee-ai/DistillKit", "compute_hs_loss('mse')", remark="The mean over its mapping of layers."
    ),
    "hidden_state__distillkit_cosine__s1d": Published(
        "arcee-ai/DistillKit", "compute_hs_loss('cosine')", remark="The mean over its mapping of layers."
    ),
    "at__mdistiller__s1d": Published("megvii-research/mdistiller", "at_loss", {"absolute": False}),
    "at__paper_form__s1d": Published("yoshitomo-matsubara/torchdistill", "ATLoss(mode='paper')", {"distance": "norm"}),
    "at__abs_sum__s1d": Published("shicaiwei123/MMANet", "AT(p)"),
    "nst__poly__s1d": Published("megvii-research/mdistiller", "nst_loss"),
    "ab__repdistiller__s1d": Published(
        "HobbitLong/RepDistiller", "ABLoss", remark="Times 3/1000, as the source scales it."
    ),
    "ft__authors__s1d": Published("Jangho-Kim/Factor-Transfer-pytorch", "L1Loss(FT(factor_s), FT(factor_t.detach()))"),
    "ft__repdistiller_with_translator__s1d": Published(
        "HobbitLong/RepDistiller",
        "FactorTransfer(p1=2, p2=1) on Translator / Paraphraser outputs",
        {"factor_form": "attention", "power": 2, "batch_norm": True},
    ),
    "ofd__authors__s1d": Published(
        "clovaai/overhaul-distillation",
        "Distiller.forward (distillation_loss, connectors, margins)",
        remark="Summed over the rows; the script of the source divides by their number afterwards.",
    ),
    "ofd__mdistiller__s1d": Published("megvii-research/mdistiller", "OFD.ofd_loss"),
    "reviewkd__hcl__s1d": Published("dvlab-research/ReviewKD", "hcl"),
    "reviewkd__full_with_abf__s1d": Published(
        "megvii-research/mdistiller", "ReviewKD.forward_train (ABF modules + hcl_loss)"
    ),
    "fsp__repdistiller__s1d": Published("HobbitLong/RepDistiller", "FSP", {"distance": "mean", "pooling": "average"}),
    "fsp__torchdistill__s1d": Published("yoshitomo-matsubara/torchdistill", "FSPLoss", {"distance": "norm"}),
    "kdsvd__repdistiller__s1d": Published(
        "HobbitLong/RepDistiller",
        "KDSVD",
        remark="With the recorded signs of the teacher's singular vectors, which the source leaves to the library; "
        "ours fixes them.",
    ),
    "kdsvd__mdistiller__s1d": Published(
        "megvii-research/mdistiller",
        "kdsvd_loss",
        {"layout": "width"},
        remark="With the recorded signs of the teacher's singular vectors, which the source leaves to the library; "
        "ours fixes them.",
    ),
    "sp__l2__s1d": Published("megvii-research/mdistiller", "sp_loss"),
    "sp__torchdistill_l1__s1d": Published("yoshitomo-matsubara/torchdistill", "SPKDLoss", {"norm": "l1"}),
    "cc__repdistiller__s1d": Published(
        "HobbitLong/RepDistiller",
        "Correlation + LinearEmbed on both sides",
        {"form": "consecutive"},
        remark="Behind the embeddings of the source, which trains the teacher's as well; ours gives the teacher's "
        "side no gradient.",
    ),
    "cc__torchdistill__s1d": Published(
        "yoshitomo-matsubara/torchdistill", "CCKDLoss", {"normalize": False, "reduction": "norm"}
    ),
    "cc__kd_zoo__s1d": Published("AberHu/Knowledge-Distillation-Zoo", "CC(gamma, P_order)"),
    "rkd__distance__s1d": Published("lenscloth/RKD", "RkdDistance"),
    "rkd__angle__s1d": Published("lenscloth/RKD", "RKdAngle"),
    "rkd__combined__s1d": Published("megvii-research/mdistiller", "rkd_loss"),
    "rkd__hard_darkrank__s1d": Published("lenscloth/RKD", "HardDarkRank"),
    "pkt__cosine__s1d": Published("passalis/probabilistic_kt", "cosine_similarity_loss", {"form": "code"}),
    "crd__first_step__s1d": Published(
        "HobbitLong/RepDistiller",
        "CRDLoss",
        remark="The source adds 1e-7 to denominators; ours works with logarithms and adds it with `epsilon: 1e-7`.",
    ),
    "crd__later_step__s1d": Published(
        "HobbitLong/RepDistiller",
        "CRDLoss",
        remark="The source adds 1e-7 to denominators; ours works with logarithms and adds it with `epsilon: 1e-7`.",
    ),
    "clipkd__task__s1d": Published(
        "winycg/CLIP-KD",
        "KDClipLoss",
        remark="The student's own contrastive loss: `contrastive_weight: 1`, `distillation_weight: 0`.",
    ),
    "clipkd__fd__s1d": Published("winycg/CLIP-KD", "KDClipLoss", {"reduction": "mean"}),
    "clipkd__ckd__s1d": Published("winycg/CLIP-KD", "KDClipLoss"),
    "clipkd__icl__s1d": Published(
        "winycg/CLIP-KD",
        "KDClipLoss",
        {"scale_form": "as_is"},
        remark="The source uses its learned logit scale without the exponential.",
    ),
    "clipkd__cross_kd__s1d": Published(
        "winycg/CLIP-KD",
        "KDClipLoss",
        {"scale_form": "as_is"},
        remark="The source uses its learned logit scale without the exponential.",
    ),
    "clipkd__gd__s1d": Published("winycg/CLIP-KD", "KDClipLoss", {"form": "code"}),
    "clipkd__afd__s1d": Published("winycg/CLIP-KD", "KDClipLoss"),
    "tinyclip__affinity__s1d": Published("microsoft/Cream", "ClipSoftLoss", {"normalize": False}),
    "mobileclip__base__s1d": Published(
        "mlfoundations/open_clip",
        "DistillClipLoss",
        {"normalize": False},
        remark="With `contrastive_weight: 1`. The source takes embeddings as they are, its models bring them to "
        "length 1.",
    ),
    "mobileclip__ensemble_v1__s1d": Published(
        "apple/ml-mobileclip",
        "DistillClipLoss(average_after_softmax=True)",
        {"normalize": False},
        remark="The source's default width of a teacher drops one feature; here the widths are given.",
    ),
    "mobileclip__ensemble_v2__s1d": Published(
        "apple/ml-mobileclip",
        "DistillClipLoss(average_after_softmax=True)",
        {"normalize": False},
        remark="The source's default width of a teacher drops one feature; here the widths are given.",
    ),
    "mobileclip__reinforced_v1__s1d": Published(
        "apple/ml-mobileclip", "DRClipLoss", {"normalize": False}, remark="Two terms: real and synthetic captions."
    ),
    "mobileclip__siglip_v2__s1d": Published("apple/ml-mobileclip", "DistillSigLipLoss", {"normalize": False}),
    "c2kd__full__s1d": Published(
        "huofushuo/C2KD",
        "the loss block of train_network_distill + ntkl",
        {"target_class": "logit_0"},
        remark="The whole method, `kd` between heads and proxies beside it. The source keeps the target among the "
        "other classes, with logit 0.",
    ),
    "c2kd__ntkl__s1d": Published(
        "huofushuo/C2KD",
        "ntkl",
        {"threshold": None, "target_class": "logit_0"},
        remark="The source averages over the rows that it leaves out as well, and keeps the target with logit 0.",
    ),
    "dmd__graph_distill_homo__s1d": Published(
        "mdswyz/DMD", "DistillationKernel + the weighting line of the trainer", remark="Times 0.05."
    ),
    "dmd__graph_distill_hetero__s1d": Published(
        "mdswyz/DMD",
        "DistillationKernel + the weighting line of the trainer",
        {"representations": "apart"},
        remark="Times 0.05. The source pushes heterogeneous representations apart.",
    ),
    "dmd__margin__s1d": Published(
        "mdswyz/DMD",
        "HingeLoss",
        {"margin_scale": "target_distance", "triplets": "all", "average": "anchors"},
        remark="The source ignores the margin that it is given and takes 0.15.",
    ),
    "dmd__orthogonality__s1d": Published(
        "mdswyz/DMD",
        "CosineEmbeddingLoss(target -1) on one modality, summed over three",
        remark="In old PyTorch the cosine of the source runs over the rows; recorded in a current one, where it runs "
        "over the channels.",
    ),
    "misa__cmd__s1d": Published("declare-lab/MISA", "CMD"),
    "misa__difference__s1d": Published("declare-lab/MISA", "DiffLoss", {"reduction": "mean", "detach_norm": True}),
    "misa__simse__s1d": Published(
        "declare-lab/MISA", "SIMSE", {"error": "squared_mean"}, remark="The source takes the whole batch for one row."
    ),
    "misa__solver_terms__s1d": Published(
        "declare-lab/MISA",
        "Solver.get_cmd_loss, get_diff_loss",
        {"reduction": "mean", "detach_norm": True},
        remark="Beside `misa_cmd`.",
    ),
    "mmanet__mad_classification__s1d": Published("shicaiwei123/MMANet", "MAD", {"uncertainty": "partner"}),
    "mmanet__mad_segmentation__s1d": Published("shicaiwei123/MMANet", "MAD"),
    "mmanet__sp__s1d": Published("shicaiwei123/MMANet", "SP"),
    "mmanet__modality_regularisation__s1d": Published(
        "shicaiwei123/MMANet", "the Eq. 14 block of train_knowledge_distill_patch_feature_auxi_weak"
    ),
    "mfh__vggsound__s1d": Published("zihuixue/MFH", "KLDivLoss(batchmean)", remark="Without T², at temperature 1."),
    "mfh__ravdess__s1d": Published(
        "zihuixue/MFH",
        "gt_weight * CE + pl_weight * KLDivLoss(mean)",
        remark="The source averages over the classes as well, so that ours is divided by their number.",
    ),
    "promptmm__bpr__s1d": Published(
        "HKUDS/PromptMM",
        "Trainer.bpr_loss",
        remark="The pairwise loss with a teacher that is certain; the source adds the size of the embeddings.",
    ),
    "promptmm__pairwise_kd__s1d": Published("HKUDS/PromptMM", "Trainer.bpr_loss_for_KD + Trainer.distillation"),
    "promptmm__listwise_kd__s1d": Published(
        "HKUDS/PromptMM", "list-wise block of train_student + Trainer.distillation", {"form": "plain"}
    ),
    "promptmm__listwise_dkd__s1d": Published(
        "HKUDS/PromptMM",
        "list-wise block + Trainer.dkd_loss",
        remark="The source hands probabilities on as if they were scores, and so does the test.",
    ),
    "promptmm__feature_sce__s1d": Published("HKUDS/PromptMM", "Trainer.sce_criterion"),
    "promptmm__feature_mse__s1d": Published("HKUDS/PromptMM", "Trainer.mse_criterion"),
}
