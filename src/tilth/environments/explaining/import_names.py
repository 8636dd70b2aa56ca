"""Import names and the distributions that give them, where the two differ: of those that people use most."""

from __future__ import annotations

from tilth.environments.names import normalised

# Module -> distribution. First the one meant when somebody names the module.
DISTRIBUTIONS = {
    "Bio": "biopython",
    "Crypto": "pycryptodome",
    "MySQLdb": "mysqlclient",
    "OpenSSL": "pyopenssl",
    "PIL": "pillow",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cairo": "pycairo",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "faiss": "faiss-cpu",
    "fitz": "pymupdf",
    "git": "gitpython",
    "github": "pygithub",
    "haystack": "haystack-ai",
    "hydra": "hydra-core",
    "igraph": "python-igraph",
    "jose": "python-jose",
    "jwt": "pyjwt",
    "kafka": "kafka-python",
    "ldap": "python-ldap",
    "magic": "python-magic",
    "mpl_toolkits": "matplotlib",
    "multipart": "python-multipart",
    "nacl": "pynacl",
    "osgeo": "gdal",
    "past": "future",
    "pkg_resources": "setuptools",
    "psycopg2": "psycopg2-binary",
    "pptx": "python-pptx",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "skopt": "scikit-optimize",
    "slugify": "python-slugify",
    "snappy": "python-snappy",
    "umap": "umap-learn",
    "usb": "pyusb",
    "win32api": "pywin32",
    "wx": "wxpython",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}
# What else gives the same module.
_ALIASES = {
    "cv2": ("opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "faiss": ("faiss-gpu",),
    "psycopg2": ("psycopg2",),
    "tensorflow": ("tensorflow-cpu", "tensorflow-macos"),
    "xgboost": ("xgboost-cpu",),
    "igraph": ("igraph",),
}


def distribution_for(module: str) -> str:
    """The distribution to ask for when `import module` should work; a guess where the table has none."""
    return DISTRIBUTIONS.get(module.partition(".")[0], normalised(module.partition(".")[0]))


def usual_modules(distribution: str) -> tuple[str, ...]:
    """What a distribution that was never seen here probably lets a step import."""
    found = [module for module, name in DISTRIBUTIONS.items() if name == distribution]
    found += [module for module, names in _ALIASES.items() if distribution in names]
    return tuple(dict.fromkeys(found)) or (distribution.replace("-", "_"),)
