"""What this plugin brings to mtl."""

from mtl import ComponentSpec, hookimpl

mtl_api = ">=1,<2"


@hookimpl
def mtl_tasks() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            name="RatingTask",
            config="acme_ratings.config:RatingTaskConfig",
            factory="acme_ratings.task:RatingTask",
            summary="Star ratings, as a regression",
        )
    ]


@hookimpl
def mtl_representations() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            name="AcmeGRU",
            config="acme_ratings.config:AcmeGRUConfig",
            factory="acme_ratings.model:AcmeGRU",
            summary="A GRU from left to right",
        )
    ]
