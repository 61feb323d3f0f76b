"""The reference of the recipe, from its typed parts."""

from __future__ import annotations

from pydantic import BaseModel

from docs_pages.markdown import anchor, code, link, page, prose
from docs_pages.options import nested_models, options_table
from mmdistill.recipe.custom import CustomSpec
from mmdistill.recipe.recipe import Recipe
from mmdistill.recipe.schema import ColumnSpec, Component, LossTerm, LossWeight, TaskSpec

ELSEWHERE = {
    ColumnSpec: link("Settings and augmentations of every column type", "columns.md"),
    TaskSpec: link("The tasks and their options", "../tasks/README.md"),
    LossTerm: link("The losses and their options", "../losses/README.md"),
    LossWeight: link("What the shapes give", "terms.md#weights-that-change"),
    CustomSpec: link("Sources, paths of taps and arrays", "custom.md"),
}
TITLES = {LossWeight: "A weight that changes"}
COMPONENTS = {
    "encoders": link("encoder", "encoders.md"),
    "fusion": link("fusion", "../fusions/README.md"),
    "missing": link("strategy", "modalities.md#strategies-for-missing-columns"),
    "modality_dropout": link("distribution", "modalities.md#modality-dropout"),
    "modality_balance": link("balances", "modalities.md#balance"),
    "optimizer": link("optimizer", "training.md#optimizers"),
    "schedule": link("schedule", "training.md#schedules"),
    "adapter": link("adapter", "terms.md#adapters"),
    "transforms": link("transforms", "terms.md#transforms"),
    "sample_weight": link("weights", "terms.md#sample-weights"),
    "combine": link("combination", "policies.md#combinations"),
    "policy": link("policy", "policies.md#policies"),
}


def recipe_page() -> str:
    """Every key of a recipe: one section for each typed part, in the order of the keys."""
    sections = dict(_sections())
    links = COMPONENTS | {
        model.__name__: link(title.lower() if model in TITLES else code(title), f"#{anchor(title)}")
        for title, model in sections.items()
    }
    parts = [
        "# Reference of the recipe",
        "A recipe is one YAML file. Every key can be set on the command line as well: `mmdistill run recipe.yaml "
        "train.epochs=3`. `mmdistill schema` prints this page as JSON Schema, for editors that complete YAML. An "
        "unknown key is an error that names the line and the nearest key there is.",
        "A dash as default means that the key may be left out, with the meaning that is stated.",
        prose(_docstring(Recipe)),
        options_table(Recipe, links),
    ]
    for title, model in sections.items():
        parts += [f"## {title if model in TITLES else code(title)}", prose(_docstring(model))]
        parts += [f"{ELSEWHERE[model]}."] if model in ELSEWHERE else []
        parts.append(options_table(model, links))
    return page(*parts)


def _sections() -> list[tuple[str, type[BaseModel]]]:
    """Title and model of every part, each model once, where its key path is shortest; in the order of the keys.

    What stands under several keys and has a title of its own comes last.
    """
    shortest: dict[type[BaseModel], str] = {}
    for path, model in sorted(nested_models(Recipe), key=lambda found: found[0].count(".")):
        if model is not Component:
            shortest.setdefault(model, TITLES.get(model, path))
    keys = list(Recipe.model_fields)
    places = {title: title.split(".")[0] for title in shortest.values()}
    found = [(title, model) for model, title in shortest.items()]
    return sorted(found, key=lambda part: keys.index(places[part[0]]) if places[part[0]] in keys else len(keys))


def _docstring(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").replace("\n    ", "\n").strip()
