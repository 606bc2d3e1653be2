"""Texels know their place on the surface, and none that a look-up needs is missing."""

import torch

import scenes
import texture_scenes
from recon.scene import TriangleMesh
from recon.texture.atlas import Atlas
from recon.texture.texels import Texels


def footprints_are_known(mesh: TriangleMesh, atlas: Atlas, texels: Texels) -> bool:
    """Whether all four texels of bilinear look-ups at random surface points have a row."""
    generator = torch.Generator().manual_seed(0)
    share = torch.distributions.Dirichlet(torch.full((3,), 0.5))
    torch.manual_seed(1)
    weights = share.sample((20_000,))
    face = torch.randint(mesh.faces.shape[0], (20_000,), generator=generator)
    point_px = (atlas.corners_px[atlas.face_corners[face]] * weights[..., None]).sum(1) - 0.5
    corner = point_px.floor().long()
    index = corner[:, 1] * atlas.size_px + corner[:, 0]
    steps = torch.tensor([0, 1, atlas.size_px, atlas.size_px + 1])
    return bool((texels.slots()[index[:, None] + steps] >= 0).all())


def test_positions_and_normals_lie_on_the_sphere() -> None:
    """Every texel's point is on the surface and its normal points outwards."""
    _, texels = texture_scenes.unwrapped(texture_scenes.ball())
    offset = texels.positions_world - torch.from_numpy(scenes.sphere().centre_world).float()
    torch.testing.assert_close(offset.norm(dim=1), torch.full((texels.count,), 0.1), rtol=0.003, atol=0)
    assert (torch.nn.functional.normalize(offset, dim=1) * texels.normals_world).sum(1).min() > 0.999


def test_every_bilinear_footprint_is_covered() -> None:
    """The gutter holds what bilinear look-ups at the charts' borders read."""
    for mesh in (texture_scenes.ball(), texture_scenes.ring()):
        atlas, texels = texture_scenes.unwrapped(mesh)
        assert footprints_are_known(mesh, atlas, texels)


def test_slivers_between_texel_centres_have_texels() -> None:
    """A plate so thin that its rim covers no texel centre still has texels of its own."""
    mesh = texture_scenes.box((0.3, 0.3, 0.0004))
    atlas, texels = texture_scenes.unwrapped(mesh, 128)
    assert footprints_are_known(mesh, atlas, texels)


def test_pictures_and_rows_are_inverse() -> None:
    """Laying values out and reading them back changes nothing; outside is the given value."""
    _, texels = texture_scenes.unwrapped(texture_scenes.box(), 128)
    values = torch.rand(texels.count, 2, generator=torch.Generator().manual_seed(0))
    picture = texels.image(values, outside=-1.0)
    assert torch.equal(picture.view(-1, 2)[texels.index], values)
    assert int((picture == -1).all(2).sum()) == 128**2 - texels.count
