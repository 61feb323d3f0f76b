"""Registers the methods of balancing columns, and their options. Imports no torch."""

from __future__ import annotations

from mmdistill.catalog import register
from mmdistill.training.balances.entry import BalanceEntry
from mmdistill.training.balances.options import (
    AlternatingOptions,
    BranchStoppingOptions,
    G2DOptions,
    GradientBlendingOptions,
    OgmGeOptions,
    PrototypesOptions,
    UnimodalTeachersOptions,
)

ROOM = "mmdistill.training.balances"

ENTRIES: tuple[BalanceEntry, ...] = (
    BalanceEntry(
        name="ogm_ge",
        target=f"{ROOM}.ogm_ge:OgmGe",
        options=OgmGeOptions,
        summary="Holds back the gradient of the encoder whose column is ahead, and adds noise.",
        paper="Peng, Wei, Deng, Wang, Hu, Balanced Multimodal Learning via On-the-fly Gradient Modulation, CVPR 2022, "
        "arXiv:2203.15332",
        equation=r"k_m = 1 - \tanh(\alpha \rho_m) \text{ if } \rho_m > 1, \text{ else } 1; \quad "
        r"\rho_m = s_m / \tfrac{1}{M-1} \sum_{n \ne m} s_n",
        when="The first thing to try when one column learns much faster than the others; it costs next to nothing.",
        reads_probes=True,
        classes=True,
    ),
    BalanceEntry(
        name="prototypes",
        target=f"{ROOM}.prototypes:Prototypes",
        options=PrototypesOptions,
        summary="Pulls the embeddings of slow columns towards the means of their classes (PMR).",
        paper="Fan, Xu, Wang, Wang, Guo, PMR: Prototypical Modal Rebalance for Multimodal Learning, CVPR 2023, "
        "arXiv:2211.07089",
        equation=r"\alpha \sum_m \mathrm{clip}(1/\rho_m - 1, 0, 1)\, \mathrm{CE}(-\lVert z_m - c_m \rVert, y) - \mu "
        r"\sum_m \mathrm{clip}(\rho_m - 1, 0, 1)\, H(\mathrm{softmax}(-\lVert z_m - c_m \rVert))",
        when="A slow column should be sped up rather than the fast one held back; it works with every fusion.",
        classes=True,
        mixup=False,
    ),
    BalanceEntry(
        name="gradient_blending",
        target=f"{ROOM}.gradient_blending:GradientBlending",
        options=GradientBlendingOptions,
        summary="A loss for each column beside the model's, weighted by how much each generalises and overfits.",
        paper="Wang, Tran, Feiszli, What Makes Training Multi-modal Classification Networks Hard?, CVPR 2020, "
        "arXiv:1905.12681",
        equation=r"w_k \propto \Delta G_k / \Delta O_k^2",
        when="Columns overfit at different speeds.",
        reads_probes=True,
        reads_validation=True,
    ),
    BalanceEntry(
        name="alternating",
        target=f"{ROOM}.alternating:Alternating",
        options=AlternatingOptions,
        summary="Shows one column at a time, and all of them now and then (MLA).",
        paper="Zhang, Yoon, Bansal, Yao, Multimodal Representation Learning by Alternating Unimodal Adaptation, CVPR "
        "2024, arXiv:2311.10707",
        equation=r"P_t = P_{t-1} - \frac{P_{t-1} \bar h \bar h^\top P_{t-1}}{\alpha + \bar h^\top P_{t-1} \bar h}",
        when="Columns should not compete at all, and the model has to work with each alone.",
        shows_columns_alone=True,
    ),
    BalanceEntry(
        name="branch_stopping",
        target=f"{ROOM}.branch_stopping:BranchStopping",
        options=BranchStoppingOptions,
        summary="Freezes the encoder of a column whose probe has stopped getting better.",
        paper="",
        equation="",
        when="One column overfits while another still learns.",
        reads_probes=True,
        reads_validation=True,
    ),
    BalanceEntry(
        name="unimodal_teachers",
        target=f"{ROOM}.unimodal_teachers:UnimodalTeachers",
        options=UnimodalTeachersOptions,
        summary="Teaches each encoder the features of a model of its column alone (UMT).",
        paper="Du, Li, Liu, Li, Tang, Chen, Zhao, Improving Multi-Modal Learning with Uni-Modal Teachers, 2021, "
        "arXiv:2106.11059",
        equation=r"L + \lambda \sum_m \lVert z_m - z_m^{\text{alone}} \rVert^2",
        when="Each column tells much alone, and its encoder learns less of it beside the others.",
        unimodal_teachers=True,
    ),
    BalanceEntry(
        name="g2d",
        target=f"{ROOM}.g2d:G2D",
        options=G2DOptions,
        summary="Features and answers of models of each column alone, and a start that belongs to the weakest columns.",
        paper="Rakib, Bagavathi, G2D: Boosting Multimodal Learning with Gradient-Guided Distillation, ICCV 2025, "
        "arXiv:2506.21514",
        equation=r"L + \alpha \sum_m \lVert z_m - z_m^{\text{alone}} \rVert^2 + \beta \sum_m "
        r"\mathrm{KL}(p_m^{\text{alone}} \,\Vert\, p)",
        when="As unimodal_teachers, when one column dominates.",
        unimodal_teachers=True,
        classes=True,
        mixup=False,
    ),
)

for entry in ENTRIES:
    register(entry)
