"""What mtl_transformers brings. Free of torch and transformers."""

from __future__ import annotations

from mtl import ComponentSpec, hookimpl

mtl_api = ">=1,<2"


@hookimpl
def mtl_featurizers() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            name="pretrained_feat",
            config="mtl_transformers.config:PretrainedFeatConfig",
            factory="mtl_transformers.featurizer:PretrainedFeat",
            summary="Vectors of words or pieces from a pretrained model",
        ),
        ComponentSpec(
            name="static_feat",
            config="mtl_transformers.static_config:StaticFeatConfig",
            factory="mtl_transformers.static:StaticFeat",
            summary="Static vectors of words or pieces, such as model2vec's",
        ),
    ]


@hookimpl
def mtl_representations() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            name="Identity",
            config="mtl_transformers.config:IdentityConfig",
            factory="mtl_transformers.modules:Identity",
            summary="The features as they are, for encoders that are features",
        )
    ]


@hookimpl
def mtl_poolings() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            name="FirstToken",
            config="mtl_transformers.config:FirstTokenConfig",
            factory="mtl_transformers.modules:FirstToken",
            summary="The vector of the first token, such as BERT's [CLS]",
        )
    ]
