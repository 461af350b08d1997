"""How adaptive-vq compares with what else a user could pick, at equal bits per row.

``python -m benchmarks COMMAND`` measures, prints tables in Markdown and writes every row to JSON;
``--help`` lists the commands. `benchmarks.protocol` is the protocol of all figures of quality.
Real tables are read from the folder named by the environment variable ``ADAPTIVE_VQ_DATA``.
"""

import os

# On a busy machine, threads that wait by spinning make faiss up to six times slower, which would
# flatter everything it is compared with. On an idle one this changes nothing. It has to be set
# before the first library that starts threads is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
