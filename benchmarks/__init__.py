"""How adaptive-vq compares with what else a user could pick, at equal bits per row.

``python -m benchmarks quality | synthetic | ablation | downstream | speed`` measures, prints tables
in Markdown and writes every row to JSON. `benchmarks.protocol` is the protocol that all share.
Real tables are read from the folder named by the environment variable ``ADAPTIVE_VQ_DATA``.
"""
