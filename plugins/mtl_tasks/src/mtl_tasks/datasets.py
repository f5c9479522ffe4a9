"""Datasets for the tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mtl import Dataset, Download
from mtl_tasks import sample
from mtl_tasks.data_config import UDConfig


class TaskSamples(Dataset):
    """Generated files for each task, in the layouts and under the names of public corpora."""

    def downloads(self) -> Sequence[Download]:
        """Nothing can be downloaded."""
        return []

    def sample(self, seed: int) -> Mapping[str, str]:
        """Generate sentences, pairs, tags and questions; see `mtl_tasks.sample`."""
        return sample.files(seed)


# --- public datasets ---------------------------------------------------------------------------------

_GLUE = "https://dl.fbaipublicfiles.com/glue/data"
_SENTEVAL = "https://dl.fbaipublicfiles.com/senteval/senteval_data"
_WNUT = "https://raw.githubusercontent.com/leondz/emerging_entities_17/master"
_UD = "https://github.com/UniversalDependencies"
_SPLITS = ("train", "dev", "test")

# Sizes and checksums are those that TensorFlow Datasets and Hugging Face Datasets record; GLUE and WNUT-17
# publish none themselves.


def _glue(archive: str, folder: str, size: int, sha256: str, files: Sequence[str] = _SPLITS) -> Download:
    paths = [f"{folder}/{name}.tsv" for name in files]
    return Download(
        urls=(f"{_GLUE}/{archive}.zip",), sha256=sha256, size=size, files={path: path for path in paths}
    )


def _file(url: str, path: str, size: int, sha256: str) -> Download:
    name = url.rpartition("/")[2]
    return Download(urls=(url,), sha256=sha256, size=size, files={name: path}, is_archive=False)


COLA = _glue("CoLA", "CoLA", 376971, "f212fcd832b8f7b435fb991f101abf89f96b933ab400603bf198960dfc32cbff")
SST2 = _glue("SST-2", "SST-2", 7439277, "d67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa")
STSB = _glue("STS-B", "STS-B", 802872, "e60a6393de5a8b5b9bac5020a1554b54e3691f9d600b775bd131e613ac179c85")
QQP = _glue("QQP-clean", "QQP", 41696084, "40e7c862c04eb26ee04b67fd900e76c45c6ba8e6d8fab4f8f1f8072a1a3fbae0")
MNLI = _glue(
    "MNLI",
    "MNLI",
    312783507,
    "e7c1d896d26ed6caf700110645df426cc2d8ebf02a5ab743d5a5c68ac1c83633",
    ("train", "dev_matched", "dev_mismatched", "test_matched", "test_mismatched"),
)
QNLI = _glue("QNLIv2", "QNLI", 10627589, "e634e78627a29adaecd4f955359b22bf5e70f2cbd93b493f2d624138a0c0e5f5")
RTE = _glue("RTE", "RTE", 697150, "6bf86de103ecd335f3441bd43574d23fef87ecc695977a63b82d5efb206556ee")
WNLI = _glue("WNLI", "WNLI", 28999, "ae0e8e4d16f4d46d4a0a566ec7ecceccfd3fbfaa4a7a4b4e02848c0f2561ac46")
DIAGNOSTIC = _file(
    f"{_GLUE}/AX.tsv",
    "diagnostic/diagnostic.tsv",
    222257,
    "0e13510b1bb14436ff7e2ee82338f0efb0133ecf2e73507a697dc210db3f05fd",
)
MRPC = (
    _file(
        f"{_SENTEVAL}/msr_paraphrase_train.txt",
        "MRPC/msr_paraphrase_train.txt",
        1047044,
        "60a9b09084528f0673eedee2b69cb941920f0b8cd0eeccefc464a98768457f89",
    ),
    _file(
        f"{_SENTEVAL}/msr_paraphrase_test.txt",
        "MRPC/msr_paraphrase_test.txt",
        441275,
        "a04e271090879aaba6423d65b94950c089298587d9c084bf9cd7439bd785f784",
    ),
    _file(
        f"{_GLUE}/mrpc_dev_ids.tsv",
        "MRPC/dev_ids.tsv",
        6222,
        "971d7767d81b997fd9060ade0ec23c4fc31cbb226a55d1bd4a1bac474eb81dc7",
    ),
)


class CoLA(Dataset):
    """The Corpus of Linguistic Acceptability, as GLUE publishes it."""

    def downloads(self) -> Sequence[Download]:
        return [COLA]


class MicrosoftParaphrases(Dataset):
    """The Microsoft Research Paraphrase Corpus, and the ids of GLUE's development rows."""

    def downloads(self) -> Sequence[Download]:
        return MRPC


class STSBenchmark(Dataset):
    """The Semantic Textual Similarity Benchmark, as GLUE publishes it."""

    def downloads(self) -> Sequence[Download]:
        return [STSB]


class QuoraPairs(Dataset):
    """Quora's question pairs, as GLUE publishes them."""

    def downloads(self) -> Sequence[Download]:
        return [QQP]


class MultiNLI(Dataset):
    """The Multi-Genre Natural Language Inference corpus, as GLUE publishes it."""

    def downloads(self) -> Sequence[Download]:
        return [MNLI]


class QuestionNLI(Dataset):
    """Questions and sentences that may answer them, made of SQuAD by GLUE."""

    def downloads(self) -> Sequence[Download]:
        return [QNLI]


class TextualEntailment(Dataset):
    """Recognizing Textual Entailment, three years of it, as GLUE publishes it."""

    def downloads(self) -> Sequence[Download]:
        return [RTE]


class WinogradNLI(Dataset):
    """Winograd schemas as sentence pairs, as GLUE publishes them."""

    def downloads(self) -> Sequence[Download]:
        return [WNLI]


class GLUEDiagnostic(Dataset):
    """GLUE's diagnostic pairs, which have no labels."""

    def downloads(self) -> Sequence[Download]:
        return [DIAGNOSTIC]


class GLUE(Dataset):
    """All nine tasks of GLUE and its diagnostic pairs."""

    def downloads(self) -> Sequence[Download]:
        return [COLA, SST2, *MRPC, STSB, QQP, MNLI, QNLI, RTE, WNLI, DIAGNOSTIC]


class WNUT17(Dataset):
    """Emerging and rare entities of the Workshop on Noisy User-generated Text, 2017."""

    def downloads(self) -> Sequence[Download]:
        files = {
            "wnut17train.conll": (493781, "731820e13f71af324c6b55a1575ec2ce59fbaa2a0806f8f0400b98d56cd6a7a5"),
            "emerging.dev.conll": (
                114749,
                "e053b752b8155113ca66e7db08af5f2f5f43ab993694e4774f1ec5bad42312d8",
            ),
            "emerging.test.annotated": (
                192425,
                "2aa79b764e56ec9264a1b30fdd9b70195bd00ff400b62edd8f399d5f13c178f0",
            ),
        }
        return [
            _file(f"{_WNUT}/{name}", f"WNUT17/{name}", size, sha256) for name, (size, sha256) in files.items()
        ]


class UniversalDependencies(Dataset):
    """A treebank of Universal Dependencies, its newest version.

    Its repository is packed anew for each download, so that no checksum is published.
    """

    config: UDConfig

    def downloads(self) -> Sequence[Download]:
        treebank = self.config.treebank
        files = {f"*/*-ud-{split}.conllu": f"{treebank}/{split}.conllu" for split in _SPLITS}
        optional = [member for member in files if "-test." not in member]
        return [
            Download(
                urls=(f"{_UD}/{treebank}/archive/refs/heads/master.zip",), files=files, optional=optional
            )
        ]
