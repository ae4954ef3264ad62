"""The shape of the two packages: one name for one thing, small rooms, imports in one direction."""

from itertools import chain
from pathlib import Path

import pytest
from support.project import PROJECT, TESTS
from support.structure import Package, arrows_against, repeated, unlisted, untested

MOST_MODULES = 12
TRAINING = Package(PROJECT / "attnmon")
RENDERER = Package(PROJECT / "renderer" / "attnmon_renderer")
BOTH = pytest.mark.parametrize("package", [TRAINING, RENDERER], ids=lambda package: package.name)

# Each package's rooms in the order of the data flow: a room imports only from rooms below it.
# What is at the end of a list is used by all above it.
TRAINING_ROOMS = (
    "__main__",
    "integrations",
    "",
    "monitor",
    "collector",
    "collector/own_forward",
    "collector/probe",
    "collector/inputs",
    "session",
    "serialize",
    "device",
    "device/kernels",
    "layers",
    "capture",
    "capture/sandbox",
    "capture/kernels",
    "capture/handwritten",
    "capture/model",
    "capture/calls",
    "capture/lineage",
    "config",
    "accounting",
    "options",
    "schedule",
    "link",
    "link/records",
    "link/memory",
    "link/summaries",
    "_version",
)
RENDERER_ROOMS = (
    "commands",
    "view",
    "view/runs",
    "overview",
    "doctor",
    "report",
    "compare/page",
    "compare",
    "compare/series",
    "compare/measures",
    "redraw",
    "tables",
    "inlined_answers",
    "html_parts",
    "server",
    "supervision",
    "supervision/scheduling",
    "recorder",
    "worker",
    "summaries",
    "model_ranks",
    "maps",
    "sinks",
    "figures",
    "results",
    "analysis",
    "analysis/keys",
    "drawing",
    "drawing/charts",
    "drawing/layout",
    "drawing/backends",
    "drawing/text",
    "drawing/spec",
    "tokens",
    "insight/notify",
    "process_messages",
    "process_title",
    "insight",
    "insight/rules",
    "insight/judging",
    "storage/budget",
    "mirror",
    "mirror/buckets",
    "storage",
    "terminal",
    "",
)
ROOMS = pytest.mark.parametrize(
    ("package", "rooms"),
    [(TRAINING, TRAINING_ROOMS), (RENDERER, RENDERER_ROOMS)],
    ids=["attnmon", "attnmon_renderer"],
)

# Parts of a larger one, which have no test of their own: the file with the tests that run them.
# Whoever tests one directly takes it off the list.
TESTED_THROUGH = {
    "capture/test_tap.py": (
        "attnmon.capture.calls.shapes",
        "attnmon.capture.kernels.position_masks",
    ),
    "capture/handwritten/test_matcher.py": (
        "attnmon.capture.handwritten.einsum",
        "attnmon.capture.handwritten.matcher",
        "attnmon.capture.handwritten.operations",
        "attnmon.capture.handwritten.provenance",
    ),
    "capture/kernels/test_custom_ops.py": ("attnmon.capture.kernels.custom_ops",),
    "capture/kernels/test_flex_attention.py": ("attnmon.capture.kernels.flex_attention",),
    "capture/kernels/test_kernel_registry.py": ("attnmon.capture.kernels.kernel_registry",),
    "capture/kernels/test_multi_head.py": ("attnmon.capture.kernels.multi_head",),
    "capture/sandbox/test_changes_in_place.py": (
        "attnmon.capture.model.plain_objects",
        "attnmon.capture.sandbox.communication",
        "attnmon.capture.sandbox.held_code",
        "attnmon.capture.sandbox.held_containers",
        "attnmon.capture.sandbox.held_objects",
        "attnmon.capture.sandbox.held_values",
        "attnmon.capture.sandbox.kept_copies",
        "attnmon.capture.sandbox.operator_guard",
        "attnmon.capture.sandbox.own_memory",
        "attnmon.capture.sandbox.raw_access",
        "attnmon.capture.sandbox.sandbox",
        "attnmon.capture.sandboxed_listener",
    ),
    "capture/test_probe.py": (
        "attnmon.capture.model.module_index",
        "attnmon.capture.model.state_guard",
    ),
    "mirror/test_mirror_loop.py": ("attnmon_renderer.mirror.patience",),
    "mirror/test_mirrored_training.py": ("attnmon_renderer.supervision.uploading_stage",),
    "mirror/test_remote_folders.py": (
        "attnmon_renderer.commands.bucket_places",
        "attnmon_renderer.storage.copies",
    ),
    "mirror/test_sync.py": ("attnmon.link.bucket_url", "attnmon_renderer.commands.sync"),
    "mirror/test_uploader.py": (
        "attnmon_renderer.mirror.buckets.fsspec_bucket",
        "attnmon_renderer.mirror.buckets.obstore_bucket",
    ),
    "model_ranks/test_split_model.py": (
        "attnmon_renderer.model_ranks.map_merging",
        "attnmon_renderer.model_ranks.merged_accounts",
        "attnmon_renderer.model_ranks.rank_file",
    ),
    "models/test_sharded.py": ("attnmon.capture.model.sharding",),
    "end_to_end/test_forward_capture.py": ("attnmon.capture.forward_tap",),
    "end_to_end/test_monitor.py": (
        "attnmon.monitor.lightweight_monitor",
        "attnmon.monitor.step_capture",
        "attnmon.monitor.training_monitor",
    ),
    "collector/test_collector.py": ("attnmon.collector.own_forward.forward_watch",),
    "end_to_end/test_never_silent.py": (
        "attnmon.collector.own_forward.logged_inputs",
        "attnmon.collector.own_forward.missed_forward",
        "attnmon.monitor.logged_models",
    ),
    "device/test_average_kernel.py": ("attnmon.device.kernels.average_kernels",),
    "device/test_mask_facts.py": ("attnmon.device.kernels.mask_kernels",),
    "device/test_survey_kernels.py": (
        "attnmon.device.kernels.survey_kernels",
        "attnmon.device.kernels.window_kernels",
    ),
    "device/test_summarised_layers.py": (
        "attnmon.device.kernel_trust",
        "attnmon.device.summary_choice",
        "attnmon_renderer.summaries.average_reader",
        "attnmon_renderer.summaries.summarised_maps",
    ),
    "integrations/test_lightning.py": ("attnmon.integrations.trainer_callback",),
    "link/test_messages.py": ("attnmon.link.records.dtypes",),
    "serialize/test_serializer.py": ("attnmon.serialize.capture_message",),
    "commands/test_export.py": (
        "attnmon_renderer.commands.export",
        "attnmon_renderer.tables.head_table",
        "attnmon_renderer.tables.table_files",
    ),
    "commands/test_commands.py": (
        "attnmon_renderer.commands.doctor",
        "attnmon_renderer.commands.report",
        "attnmon_renderer.commands.status",
    ),
    "renderer/analysis/test_layer_statistics.py": (
        "attnmon_renderer.analysis.statistics_accumulator",
    ),
    "renderer/compare/test_comparison.py": (
        "attnmon_renderer.compare.comparability",
        "attnmon_renderer.compare.findings",
        "attnmon_renderer.compare.map_comparison",
        "attnmon_renderer.compare.map_matching",
        "attnmon_renderer.compare.series.curves_over_training",
        "attnmon_renderer.compare.series.run_maps",
        "attnmon_renderer.compare.series.run_series",
        "attnmon_renderer.compare.series.series_alignment",
    ),
    "commands/test_compare.py": (
        "attnmon_renderer.commands.compare",
        "attnmon_renderer.compare.comparison_text",
    ),
    "renderer/drawing/charts/test_surface.py": ("attnmon_renderer.drawing.backends.antialiased",),
    "renderer/drawing/charts/test_heatmaps.py": (
        "attnmon_renderer.drawing.layout.page_geometry",
        "attnmon_renderer.drawing.layout.panel_page",
    ),
    "renderer/figures/test_figure_plan.py": ("attnmon_renderer.figures.pages",),
    "renderer/maps/test_maps_file.py": (
        "attnmon_renderer.maps.maps_bytes",
        "attnmon_renderer.maps.maps_metadata",
    ),
    "renderer/report/test_report.py": (
        "attnmon_renderer.report.embed",
        "attnmon_renderer.report.html",
    ),
    "renderer/server/test_server.py": (
        "attnmon.session.attached_renderer",
        "attnmon_renderer.server.client",
        "attnmon_renderer.server.listener",
        "attnmon_renderer.server.server",
        "attnmon_renderer.server.stop_signals",
    ),
    "renderer/storage/budget/test_quota.py": ("attnmon_renderer.storage.inventory",),
    "renderer/supervision/test_supervisor.py": (
        "attnmon_renderer.supervision.drawing_stage",
        "attnmon_renderer.supervision.recording_stage",
    ),
    "view/test_endpoints.py": (
        "attnmon_renderer.view.answer",
        "attnmon_renderer.view.runs.listed_captures",
    ),
}


def test_no_two_classes_have_one_name() -> None:
    assert repeated([*TRAINING.classes(), *RENDERER.classes()]) == []


def test_no_two_files_have_one_name() -> None:
    assert repeated([*TRAINING.files(), *RENDERER.files()]) == []


@BOTH
def test_no_folder_has_too_many_modules(package: Package) -> None:
    sizes = package.folder_sizes()
    assert {folder: size for folder, size in sizes.items() if size > MOST_MODULES} == {}


@ROOMS
def test_every_room_has_its_place_in_the_order(package: Package, rooms: tuple[str, ...]) -> None:
    assert unlisted(rooms, package) == set()


@ROOMS
def test_a_room_imports_only_from_rooms_after_it(package: Package, rooms: tuple[str, ...]) -> None:
    assert arrows_against(rooms, package.arrows()) == []


def test_every_public_module_is_imported_by_a_test() -> None:
    files = list(TESTS.rglob("*.py"))
    found = [*untested(TRAINING, files), *untested(RENDERER, files)]
    assert found == sorted(chain.from_iterable(TESTED_THROUGH.values()))
    assert [name for name in TESTED_THROUGH if not (TESTS / name).exists()] == []


# The checks can fail


def made_up(root: Path, files: dict[str, str]) -> Package:
    """Writes a package of these files; there is an `__init__.py` in each of its folders."""
    for name, code in files.items():
        path = root / "made" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(code)
    (root / "made" / "__init__.py").touch()
    return Package(root / "made")


def test_a_second_class_or_file_of_one_name_is_found(tmp_path: Path) -> None:
    source = "def make():\n    class Twice:\n        pass\n"
    package = made_up(tmp_path, {"a/same.py": "class Twice:\n    pass\n", "b/same.py": source})
    assert repeated(package.classes()) == ["Twice"]
    assert repeated(package.files()) == ["same.py"]


def test_modules_are_counted_by_folder(tmp_path: Path) -> None:
    package = made_up(tmp_path, {"a/one.py": "", "a/two.py": "", "a/inner/three.py": ""})
    assert sorted(package.folder_sizes().values()) == [1, 2]


@pytest.mark.parametrize(
    "code",
    [
        "from made.early.start import begin",
        "from made.early import start",
        "import made.early.start",
        "def run():\n    from made.early.start import begin",
        "if TYPE_CHECKING:\n    from made.early.start import begin",
    ],
)
def test_an_import_against_the_order_is_found(code: str, tmp_path: Path) -> None:
    files = {"early/start.py": "from made.late import end", "late/end.py": code}
    package = made_up(tmp_path, files)
    assert arrows_against(("early", "late", ""), package.arrows()) == [
        "made.late.end imports made.early.start"
    ]


def test_a_room_without_a_place_and_a_place_without_a_room_are_found(tmp_path: Path) -> None:
    package = made_up(tmp_path, {"new/module.py": "", "top.py": ""})
    assert unlisted(("", "top", "old"), package) == {"new", "old"}


def test_a_module_that_no_test_imports_is_found(tmp_path: Path) -> None:
    files = {
        "a/direct.py": "", "a/exported.py": "", "a/unknown.py": "", "a/_private.py": "",
        "a/__init__.py": "from made.a.exported import name\nfrom made.a.unknown import other",
    }  # fmt: skip
    package = made_up(tmp_path, files)
    test = tmp_path / "test_it.py"
    test.write_text("from made.a import direct, name")
    assert untested(package, [test]) == ["made.a.unknown"]
