"""A plain ViT-B/16 in PyTorch, for measuring: pictures of 224 px, random weights, its answer is the class token's feature."""

import torch
import torch.nn.functional as F


class Block(torch.nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
        self.qkv, self.proj = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)
        self.fc1, self.fc2 = torch.nn.Linear(width, 4 * width), torch.nn.Linear(4 * width, width)

    def forward(self, x):
        n, t, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(n, t, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, width))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Vit(torch.nn.Module):
    def __init__(self, width=768, depth=12, heads=12):
        super().__init__()
        self.embed = torch.nn.Conv2d(3, width, 16, 16)
        self.cls = torch.nn.Parameter(torch.zeros(1, 1, width))
        self.positions = torch.nn.Parameter(0.02 * torch.randn(1, 197, width))
        self.blocks = torch.nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = torch.nn.LayerNorm(width)

    def forward(self, pixels):
        x = self.embed(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.positions
        return self.norm(self.blocks(x))[:, 0]
