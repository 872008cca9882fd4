"""The settings of all functions of the public API; importing them loads nothing heavy.

Example:
    >>> from atlas.settings import LeakSettings
    >>> LeakSettings(copy_precision=0.95).copy_precision
    0.95
"""

from atlas.core.execution import ExecutionSettings as ExecutionSettings
from atlas.inference.settings import RuntimeOptions as RuntimeOptions
from atlas.training.settings import TrainingSettings as TrainingSettings
from classify.decisions.settings import DecisionSettings as DecisionSettings
from classify.decisions.settings import ThresholdSettings as ThresholdSettings
from classify.recipes import RECIPES as CLASSIFIER_RECIPES
from classify.settings import ClassifierSettings as ClassifierSettings
from classify.settings import PredictionSettings as PredictionSettings
from index.settings import LeakSettings as LeakSettings
from index.settings import RegistrationSettings as RegistrationSettings
from index.settings import SearchSettings as SearchSettings
from retrieval.settings import RECIPES as EMBEDDER_RECIPES
from retrieval.settings import EmbedderSettings as EmbedderSettings

__all__ = [
    "CLASSIFIER_RECIPES",
    "EMBEDDER_RECIPES",
    "ClassifierSettings",
    "DecisionSettings",
    "EmbedderSettings",
    "ExecutionSettings",
    "LeakSettings",
    "PredictionSettings",
    "RegistrationSettings",
    "RuntimeOptions",
    "SearchSettings",
    "ThresholdSettings",
    "TrainingSettings",
]
