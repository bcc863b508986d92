"""Which layers of Stable Diffusion's networks, 1.x and XL, a LoRA changes: those that kohya's sd-scripts trains."""

from models.diffusion.lora_file import AdapterSize

CONVOLUTIONS = r"(resnets\.\d+\.conv[12]|(down|up)samplers\.\d+\.conv)"
UNET_LAYERS = r".*\.attentions\.\d+\.(proj_in|proj_out|.*\.(to_q|to_k|to_v|to_out\.0|ff\.net\.0\.proj|ff\.net\.2))"
"""Every linear layer and 1x1 convolution of the transformer blocks."""
RESIDUAL_LAYERS = rf".*\.(resnets\.\d+\.(time_emb_proj|conv_shortcut)|{CONVOLUTIONS})"
"""What its conv_dim adds: all of residual blocks, down- and upsamplers; the 3x3 ones have a rank of their own."""
TEXT_ENCODER_LAYERS = r".*\.layers\.\d+\..*\.?(q_proj|k_proj|v_proj|out_proj|fc1|fc2)"


def unet_layers(size: AdapterSize) -> str:
    """Return the pattern of the U-Net's layers that an adapter of this size changes."""
    return f"{UNET_LAYERS}|{RESIDUAL_LAYERS}" if size.conv_rank else UNET_LAYERS
