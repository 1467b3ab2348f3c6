"""Speech emotion recognition for telephone audio: audio in, probabilities out.

Features, an ONNX classifier, and what trains, evaluates and exports one. Knows nothing of storage, Spark,
tables or schedules: nothing of ``jobs`` or ``schemas`` is imported here.

This module imports nothing, so that a worker pays only for what it uses: import from the modules
(``from ser_model.features import FeatureSpec, LogMel``).
"""
