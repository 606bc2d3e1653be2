"""The type checker that pytest puts around every function of recon: shapes, dtypes and types of all arguments."""

import io
from typing import BinaryIO

from beartype import BeartypeConf, BeartypeHintOverrides, beartype

# typing.BinaryIO has no runtime meaning that io.BytesIO would satisfy everywhere.
checked = beartype(conf=BeartypeConf(hint_overrides=BeartypeHintOverrides({BinaryIO: io.IOBase})))
