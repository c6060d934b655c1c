"""The operations that FG-Net is made of beyond torch's own, one module each.

Where a module computes something in another way than its definition, the definition stands beside it as ``…_reference``,
in plain torch.
"""

from fgnet_plugin.network.ops.crop import ffhq_crop, ffhq_crop_reference
from fgnet_plugin.network.ops.decode import decode_heatmaps, decode_heatmaps_reference
from fgnet_plugin.network.ops.epilogue import (
    blur_noise_act,
    blur_noise_act_reference,
    noise_bias_act,
    noise_bias_act_reference,
)
from fgnet_plugin.network.ops.grouped_conv import grouped_conv2d, grouped_conv2d_reference
from fgnet_plugin.network.ops.merge import relu_norm_add, relu_norm_add_reference
from fgnet_plugin.network.ops.modulated_conv import modulated_conv2d, modulated_conv2d_reference
from fgnet_plugin.network.ops.resample import blur_upsample, resize, upsample2
from fgnet_plugin.network.ops.taps import taps_of, taps_relu_norm_add, taps_relu_norm_add_reference
from fgnet_plugin.network.ops.upsampled_conv import upsampled_conv2d, upsampled_conv2d_reference
from fgnet_plugin.network.ops.upsampling_conv import upsampling_conv2d, upsampling_conv2d_reference

__all__ = [
    "blur_noise_act",
    "blur_noise_act_reference",
    "blur_upsample",
    "decode_heatmaps",
    "decode_heatmaps_reference",
    "ffhq_crop",
    "ffhq_crop_reference",
    "grouped_conv2d",
    "grouped_conv2d_reference",
    "modulated_conv2d",
    "modulated_conv2d_reference",
    "noise_bias_act",
    "noise_bias_act_reference",
    "relu_norm_add",
    "relu_norm_add_reference",
    "resize",
    "taps_of",
    "taps_relu_norm_add",
    "taps_relu_norm_add_reference",
    "upsample2",
    "upsampled_conv2d",
    "upsampled_conv2d_reference",
    "upsampling_conv2d",
    "upsampling_conv2d_reference",
]
